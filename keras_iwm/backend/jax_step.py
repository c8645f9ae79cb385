"""A train step on JAX, where it is a pure function of the state."""

import keras


def take_step(model, step, arguments, before, after):
    """Take a train step with something done before and after it.

    The same as elsewhere, though no variable holds a value here: `before` reads the
    optimizer's in the state that comes in, and `after` reads and assigns the model's
    in the state that goes out. What it assigns must not learn.

    Args:
        model: `keras.Model` that takes the step.
        step: Function, Keras's own train step.
        arguments: Tuple, what Keras has called the train step with.
        before: Function without arguments.
        after: Function of what `before` has returned.

    Returns:
        What Keras's own train step returns.
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
