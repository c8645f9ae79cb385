"""How much of a patch is left as noise is added to it."""

import numpy as np


def cosine_schedule(num_steps):
    """The share of the signal in the variance of a patch, after each step of noise.

    The cosine schedule (arXiv 2102.09672, section 3.2): the share falls slowly at
    both ends, and no step takes more than 99.9 % of what is left.

    Args:
        num_steps: Integer.

    Returns:
        Float64 array of shape `(num_steps + 1,)` that falls from 1, the clean patch, to
        almost 0. A patch `x` after `k` steps is `sqrt(share[k]) * x` and noise of
        deviation `sqrt(1 - share[k])`.
    """
    times = (np.arange(num_steps + 1) / num_steps + 0.008) / 1.008
    shares = np.cos(times * np.pi / 2) ** 2
    kept = np.maximum(shares[1:] / shares[:-1], 0.001)
    return np.concatenate([[1.0], np.cumprod(kept)])
