"""The random streams that a process shares."""

import contextlib
import random

import keras
import numpy as np

if keras.backend.backend() == "torch":
    import torch


@contextlib.contextmanager
def kept_streams(seed):
    """Context in which initial weights follow from a seed, and no trace is left.

    Keras draws the seeds of initial weights from Python's stream, and on Torch every
    pass over data draws from Torch's. Behind the context, these and NumPy's stream
    are where they were, so that a measurement changes nothing of what follows it.

    Args:
        seed: Integer, of Python's stream inside the context.
    """
    python, numpy = random.getstate(), np.random.get_state()
    is_torch = keras.backend.backend() == "torch"
    state = torch.get_rng_state() if is_torch else None
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if is_torch:
            torch.set_rng_state(state)
