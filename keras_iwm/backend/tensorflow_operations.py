"""The operations of a transformer block on TensorFlow."""

import math

import tensorflow as tf
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


def product(left, right):
    """See `operations.product`."""
    shortens = tf.config.experimental.tensor_float_32_execution_enabled()
    if not (shortens and tf.config.list_logical_devices("GPU")):
        return tf.matmul(left, right)
    left, right = (tf.cast(part, "float64") for part in (left, right))
    return tf.cast(tf.matmul(left, right), "float32")
