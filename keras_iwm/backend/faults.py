"""What a train step that can be taken back needs, whatever the backend."""

import keras
from keras import ops


def passing_variables(model):
    """Variables that the forward pass of a train step may change.

    Seeds, statistics of normalisation, and metrics: what does not learn and is no
    frozen weight either. What counts the faults themselves is left out.

    Args:
        model: `TrainedModel`.

    Returns:
        List of `keras.Variable`.
    """
    counted = {id(variable) for variable in model.faults.variables}
    passing = [v for v in model.metrics_variables if id(v) not in counted]
    for layer in model._flatten_layers():
        passing += [generator.state for generator in layer._seed_generators]
        # Integers are quantised kernels.
        passing += [v for v in layer._non_trainable_variables if "float" in v.dtype]
    return list({id(variable): variable for variable in passing}.values())


def poison(loss):
    """Return a loss whose gradients are NaN, all of them, if it is not finite.

    So gradients alone tell of a fault: also to the other copies of a model, where
    they are added up.

    Args:
        loss: Scalar tensor.
    """
    factor = ops.where(ops.isfinite(loss), 1.0, float("nan"))
    return loss * ops.cast(factor, loss.dtype)


def loss_tracker(model):
    """The metric in which Keras averages the loss."""
    return next(metric for metric in model.metrics if metric.name == "loss")


def first_input(x):
    """The first tensor of a batch's inputs."""
    return next(tensor for tensor in keras.tree.flatten(x) if tensor is not None)


def skips_itself(optimizer):
    """Whether an optimizer skips steps by itself, to lower its loss scale."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
