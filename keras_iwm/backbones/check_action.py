"""A look at the action that a predictor is told."""

from keras import ops


def check_action(action, conditioning, action_dim):
    """Return the action as a tensor, or say what is wrong with it.

    Args:
        action: Array or tensor of shape `(batch_size, action_dim)`, or `None`.
        conditioning: String, the predictor's.
        action_dim: Integer, slots that the action must have.

    Returns:
        Tensor, or `None` for conditioning `"none"`, whatever was given.

    Raises:
        ValueError: If the action is missing or has another shape.
    """
    if conditioning == "none":
        return None
    if action is None:
        raise ValueError(
            f"Conditioning {conditioning!r} needs `action`. Received None. Zeros are "
            "the null action."
        )
    action = ops.convert_to_tensor(action)
    if len(action.shape) != 2 or action.shape[1] != action_dim:
        raise ValueError(
            f"`action` must have shape (batch_size, {action_dim}). Received: "
            f"{tuple(action.shape)}."
        )
    return action
