"""Updates of many weights on TensorFlow, each in an operation or three.

The graph of Keras's own update is a third of a narrow model's step, and takes as
much of the first step's time.
"""

import keras
import tensorflow as tf


def fused_update(variables):
    """See `operations.fused_update`. Replicas are left to Keras.

    So are half precisions: the kernel takes its betas in the weights' own, where
    bfloat16 knows no number between 0.996 and 1.
    """
    replicated = tf.distribute.get_strategy().num_replicas_in_sync > 1
    if replicated or any(tf.as_dtype(v.dtype) != tf.float32 for v in variables):
        return None
    return update_weights


def update_weights(rows, rate, keep, betas, epsilon):
    """See `torch_update.update_weights`."""
    # The kernel would correct the bias, which the rate does already.
    numbers = {
        name: tf.cast(number, "float32")
        for name, number in {
            "beta1_power": 0.0,
            "beta2_power": 0.0,
            "lr": rate,
            "beta1": betas[0],
            "beta2": betas[1],
            "epsilon": epsilon,
        }.items()
    }
    for decayed, variable, gradient, *moments in rows:
        weight, mean, square = map(tensorflow_variable, (variable, *moments))
        if decayed:
            weight.assign(weight * keep)
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=mean.handle,
            v=square.handle,
            grad=tf.cast(tf.convert_to_tensor(gradient), "float32"),
            **numbers,
        )


def tensorflow_variable(variable):
    """The backend's own variable; Keras hands over either."""
    return variable.value if isinstance(variable, keras.Variable) else variable
