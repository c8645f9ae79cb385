"""How the kernels of blocks start."""

import math

import keras

from keras_iwm.arguments import as_number


def kernel_initializer(stddev, variance=1.0):
    """Make the initializer of a kernel.

    Args:
        stddev: Float, the deviation of a normal, or `None` for Glorot's
            uniform.
        variance: Float, a factor of the variance.

    Returns:
        A `keras.initializers.Initializer`.
    """
    if stddev is not None:
        return keras.initializers.RandomNormal(stddev=stddev * math.sqrt(variance))
    return keras.initializers.VarianceScaling(
        variance, mode="fan_avg", distribution="uniform"
    )


def as_stddev(stddev):
    """A deviation as a positive float or `None`, or a ValueError that says so."""
    if stddev is None:
        return None
    return as_number("initializer_stddev", stddev, 1e-6, 10.0)
