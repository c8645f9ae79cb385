"""The operations of a transformer block on TensorFlow."""

import math

from keras import ops


def gelu(features):
    """See `operations.gelu`.

    TensorFlow's own is made of `Erfc`, which costs twice as much on CPUs and which no
    ONNX operator stands for.
    """
    values = ops.cast(features, "float32")
    cdf = 0.5 + 0.5 * ops.erf(values * math.sqrt(0.5))
    return ops.cast(values * cdf, features.dtype)
