"""Programs that outlive the model they were compiled for, on TensorFlow."""

import keras
import tensorflow as tf


def compile_apart(function, arguments, jit_compile):
    """See `jax_programs.compile_apart`."""
    specs = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), arguments
    )
    traced = tf.function(function, autograph=False, jit_compile=jit_compile)
    return traced.get_concrete_function(*specs)
