"""The operations of a transformer block on TensorFlow."""

import math

from keras import ops

traces_any_size = True


def gelu(features):
    """See `operations.gelu`.

    TensorFlow's own is made of `Erfc`, which costs twice as much on CPUs and which no
    ONNX operator stands for. Products in this order are what LiteRT knows as GELU.
    """
    values = ops.cast(features, "float32")
    outputs = (0.5 * values) * (1.0 + ops.erf(values * math.sqrt(0.5)))
    return ops.cast(outputs, features.dtype)
