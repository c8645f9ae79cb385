"""Batches that the devices of `keras.distribution` share evenly."""

import keras

from keras_iwm.type_aliases import Tensor


def even_batch(batch_size: int) -> int:
    """Return the smallest batch, of so many rows or more, that devices share evenly.

    Keras splits what it is given by the first axis and refuses what leaves a rest.

    Args:
        batch_size: Positive integer.

    Returns:
        A positive integer: `batch_size` itself where one device computes.
    """
    distribution = keras.distribution.distribution()
    parts = 1 if distribution is None else distribution.num_model_replicas
    return -(-batch_size // parts) * parts


def split_batch(rows: Tensor) -> Tensor:
    """Return a batch inside a compiled program, with a part of it on each device.

    Args:
        rows: Tensor whose first axis is an `even_batch`.

    Returns:
        The same tensor.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return rows
    layout = distribution.get_data_layout(rows.shape)
    return keras.distribution.distribute_tensor(rows, layout)
