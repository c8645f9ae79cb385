"""A model out of a folder of shards."""

import functools
import re

import keras
import numpy as np

from keras_iwm.backend import assign_pieces
from keras_iwm.saving.check_config import check_config
from keras_iwm.saving.write_shards import groups_of


def load_shards(shards, compile=True):
    """Make the model of a folder, laid out over the devices as they are set now.

    Each process reads what its devices hold, a variable at a time.

    Args:
        shards: `ShardFolder`.
        compile: Boolean, whether to compile the model, with its optimizer's state.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the variables are not those of the model.
    """
    config = dict(shards.config)
    if not compile:
        config.pop("compile_config", None)
    model = keras.saving.deserialize_keras_object(config)
    for group, variables in groups_of(model).items():
        stored = shards.group(group)
        if group == "optimizer" and not (compile and stored):
            continue  # it had no state yet, or nobody wants it
        own = [(_kind(v.path), tuple(v.shape)) for v in variables]
        found = [(_kind(path), shape) for path, shape in stored]
        if own != found:
            differing = [pair for pair in found if pair not in own]
            raise ValueError(
                f"the {len(found)} variables of its {group} are not the {len(own)} of "
                f"the one that it describes. First of the others: {differing[:3]}"
            )
        for place, variable in enumerate(variables):
            assign_pieces(variable, functools.partial(shards.read, group, place))
    return model


def check_shards(shards):
    """Refuse a folder that may come from anyone, as `check_file` refuses files.

    Args:
        shards: `ShardFolder`.

    Raises:
        ValueError: If it is refused.
    """
    shards.check_bytes()
    for key, pieces in shards.pieces.items():
        for _, values in pieces:
            if values.dtype.kind in "iub":
                continue
            # NumPy takes the short floats for no floats.
            if not np.isfinite(values.astype("float32", copy=False)).all():
                raise ValueError(
                    f"its {shards.paths[key]} holds NaN or infinity. Training has "
                    "diverged; use a checkpoint from before that."
                )
    check_config(shards.config, shards.count_values())


def _kind(path):
    """What a variable is for; Keras may make up the names of layers anew."""
    return re.split("[/_]", path)[-1]
