"""A train step on TensorFlow that is taken only if all is finite."""

import keras
import tensorflow as tf

from keras_iwm.backend.faults import (
    first_input,
    loss_tracker,
    passing_variables,
    poison,
    skips_itself,
)


def sound_step(model, data):
    """Take a train step as Keras does, or leave no trace where something is not finite.

    Args:
        model: `TrainedModel`, compiled.
        data: A batch, as `fit` passes it to `train_step`.

    Returns:
        Dictionary of logs.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    passing = passing_variables(model)
    kept = [tf.identity(variable.value) for variable in passing]
    optimizer, weights = model.optimizer, model.trainable_weights
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = model.compute_loss(x, y, outputs, sample_weight, training=True)
        scaled = optimizer.scale_loss(poison(loss))
    gradients = tape.gradient(scaled, weights)
    finite = all_finite(gradients, optimizer.learning_rate)
    apply_if(finite, optimizer, gradients, weights)
    # Keras's losses have divided by the number of replicas.
    loss = loss * tf.cast(count_replicas(), loss.dtype)
    count = tf.shape(first_input(x))[0]
    loss_tracker(model).update_state(loss, sample_weight=count)
    model.compute_metrics(x, y, outputs, sample_weight)
    for variable, value in zip(passing, kept, strict=True):
        variable.assign(tf.where(finite, variable.value, value))
    model.faults.update_state(finite, loss)
    return model.get_metrics_result()


def count_replicas():
    """Replicas that train together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_finite(gradients, learning_rate):
    """Whether the gradients of all replicas and the learning rate are finite.

    Args:
        gradients: List of tensors, or `None` for weights without a gradient.
        learning_rate: Float, `keras.Variable` or scalar tensor.

    Returns:
        Scalar boolean tensor, the same in all replicas.
    """
    gradients = [
        gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        for gradient in gradients
        if gradient is not None
    ]
    # A sum is finite if what it adds is: one small operation for each gradient.
    sums = [tf.reduce_sum(tf.cast(gradient, "float32")) for gradient in gradients]
    total = tf.add_n([tf.cast(tf.convert_to_tensor(learning_rate), "float32"), *sums])
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    return tf.math.is_finite(total)


def apply_if(finite, optimizer, gradients, weights):
    """Let the optimizer update the weights if all is finite.

    Args:
        finite: Scalar boolean tensor.
        optimizer: `keras.optimizers.Optimizer`.
        gradients: List of tensors, or `None` for weights without a gradient.
        weights: List of `keras.Variable`.
    """
    if not any(gradient is not None for gradient in gradients):
        return

    if skips_itself(optimizer):
        # What another replica has found must be seen in this one's gradients.
        nan = float("nan")
        optimizer.apply(
            [g if g is None else tf.where(finite, g, nan) for g in gradients], weights
        )
        return

    def update(gradients):
        optimizer.apply(gradients, weights)

    if count_replicas() == 1:
        tf.cond(finite, lambda: update(gradients), lambda: None)
        return

    def update_replicas(strategy, gradients, finite):
        # A branch inside of a replica could not meet the others.
        tf.cond(
            strategy.experimental_local_results(finite)[0],
            lambda: strategy.extended.call_for_each_replica(update, (gradients,)),
            lambda: None,
        )

    context = tf.distribute.get_replica_context()
    context.merge_call(update_replicas, args=(gradients, finite))
