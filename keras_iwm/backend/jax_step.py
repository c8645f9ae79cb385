"""A train step on JAX, where it is a pure function of the state."""

import jax
import keras
from jax import numpy as jnp
from keras import ops

from keras_iwm.backend.faults import first_input, loss_tracker, skips_itself


def take_step(model, step, arguments, before, after):
    """Take a train step with something done before and after it.

    The same as elsewhere, though no variable holds a value here: `before` reads the
    optimizer's in the state that comes in, and `after` reads and assigns the model's
    in the state that goes out. What it assigns must not learn.

    Args:
        model: `keras.Model` that takes the step.
        step: Function, the train step.
        arguments: Tuple, what Keras has called the train step with.
        before: Function without arguments.
        after: Function of what `before` has returned.

    Returns:
        What the train step returns.
    """
    state, data = arguments
    with keras.StatelessScope(zip(model.optimizer.variables, state[2], strict=False)):
        noted = before()
    logs, (trainable, non_trainable, optimizer, metrics) = step(state, data)
    mapping = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, non_trainable, strict=True),
        *zip(model.optimizer.variables, optimizer, strict=True),
    ]
    with keras.StatelessScope(mapping) as scope:
        after(noted)
    non_trainable = [
        scope.get_current_value(variable) for variable in model.non_trainable_variables
    ]
    return logs, (trainable, non_trainable, optimizer, metrics)


def sound_step(model, state, data):
    """Take a train step as Keras does, or leave no trace where something is not finite.

    The optimizer moves in a branch. Of seeds, statistics and metrics both states are
    there, and a boolean selects between them.

    Args:
        model: `TrainedModel`, compiled.
        state: Tuple of lists of arrays, as `fit` passes it to `train_step`.
        data: A batch.

    Returns:
        Pair: dictionary of logs, and the state that goes out.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    trainable, non_trainable, optimizer_state, metrics = state
    differentiate = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)
    (_, outcome), gradients = differentiate(
        *(trainable, non_trainable, metrics, x, y, sample_weight),
        training=True,
        optimizer_variables=optimizer_state,
    )
    loss, outputs, new_non_trainable, new_metrics = outcome
    optimizer = model.optimizer
    with keras.StatelessScope(zip(optimizer.variables, optimizer_state, strict=True)):
        rate = ops.convert_to_tensor(optimizer.learning_rate)
    leaves = [loss, rate, *gradients]
    # A sum is finite if what it adds is.
    sums = [jnp.sum(leaf, dtype="float32") for leaf in leaves if leaf is not None]
    finite = jnp.isfinite(jnp.stack(sums)).all()

    def apply(optimizer_state, gradients, trainable):
        return optimizer.stateless_apply(optimizer_state, gradients, trainable)

    def keep(optimizer_state, gradients, trainable):
        return trainable, optimizer_state

    def select(new, old):
        return new if new is old else jnp.where(finite, new, old)

    if skips_itself(optimizer):
        nan = float("nan")
        gradients = [g if g is None else jnp.where(finite, g, nan) for g in gradients]
        trainable, optimizer_state = apply(optimizer_state, gradients, trainable)
    else:
        # A branch: to select between all old and new values takes longer.
        trainable, optimizer_state = jax.lax.cond(
            finite, apply, keep, optimizer_state, gradients, trainable
        )
    variables = model.metrics_variables
    with keras.StatelessScope(zip(variables, new_metrics, strict=True)) as scope:
        count = first_input(x).shape[0]
        loss_tracker(model).update_state(loss, sample_weight=count)
        model.compute_metrics(x, y, outputs, sample_weight)
        for variable, old in zip(variables, metrics, strict=True):
            variable.assign(select(variable.value, old))
        model.faults.update_state(finite, loss)
        logs = model.get_metrics_result()
    return logs, (
        trainable,
        list(map(select, new_non_trainable, non_trainable)),
        optimizer_state,
        [scope.get_current_value(variable) for variable in variables],
    )


def peek(model, variable):
    """Return what a variable of a metric holds, also in the midst of `fit`.

    There the model's variables are empty, and to fill them all takes long.

    Args:
        model: `keras.Model`.
        variable: `keras.Variable`, one of `model.metrics_variables`.

    Returns:
        Tensor of its own, without waiting for it.
    """
    state = getattr(model, "_jax_state", None) or {}
    if getattr(model, "_jax_state_synced", True) or "metrics_variables" not in state:
        model.jax_state_sync()
        return variable.value + 0
    pairs = zip(model.metrics_variables, state["metrics_variables"], strict=True)
    return next(value for other, value in pairs if other is variable) + 0
