"""A train step on Torch that is taken only if all is finite."""

import keras
import torch
from keras import ops

from keras_iwm.backend.faults import (
    first_input,
    loss_tracker,
    passing_variables,
    poison,
    skips_itself,
)
from keras_iwm.backend.torch_update import held


def sound_step(model, data):
    """Take a train step as Keras does, or leave no trace where something is not finite.

    Copies of a model agree, because their gradients are averaged before, or they ask
    each other.

    Args:
        model: `TrainedModel`, compiled.
        data: A batch, as `fit` passes it to `train_step`.

    Returns:
        Dictionary of logs.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    passing = passing_variables(model)
    kept = [variable.value.detach().clone() for variable in passing]
    weights = model.trainable_weights
    outputs = model(x, training=True)
    for weight in weights:
        held(weight).grad = None
    loss = model.compute_loss(x, y, outputs, sample_weight, training=True)
    model.optimizer.scale_loss(poison(loss)).backward()
    model.replicas.receive()
    gradients = [held(weight).grad for weight in weights]
    with torch.no_grad():
        finite = all_finite(gradients, model.optimizer.learning_rate)
        finite = model.replicas.agree(finite)
        if not finite and skips_itself(model.optimizer):
            gradients = [g if g is None else g * float("nan") for g in gradients]
        if finite or skips_itself(model.optimizer):
            model.optimizer.apply(gradients, weights)
    if finite:
        tracker, count = loss_tracker(model), first_input(x).shape[0]
        tracker.update_state(loss, sample_weight=count)
        logs = model.compute_metrics(x, y, outputs, sample_weight)
    else:
        for variable, value in zip(passing, kept, strict=True):
            variable.assign(value)
        logs = model.get_metrics_result()
    model.faults.update_state(finite, loss.detach())
    return logs


def all_finite(gradients, learning_rate):
    """Whether all gradients and the learning rate are finite.

    Args:
        gradients: List of tensors, or `None` for weights without a gradient.
        learning_rate: Float, `keras.Variable` or scalar tensor.
    """
    gradients = [gradient for gradient in gradients if gradient is not None]
    rate = ops.convert_to_tensor(learning_rate, "float32")
    if not gradients:
        return bool(torch.isfinite(rate))
    if gradients[0].is_cpu:
        # A sum is finite if what it adds is, and here four times as fast as a norm.
        sums = [gradient.sum(dtype=torch.float32) for gradient in gradients]
        total = torch.stack(sums).sum()
    else:
        # Starts a kernel for many gradients, not one for each.
        total = torch.nn.utils.get_total_norm(gradients, float("inf"))
    return bool(torch.isfinite(total) & torch.isfinite(rate))
