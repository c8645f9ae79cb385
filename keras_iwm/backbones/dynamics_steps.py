"""Steps of a clip as a predictor sees them: checks, positions and mask."""

import functools

import numpy as np

from keras_iwm.array_arguments import as_tensor
from keras_iwm.layers.sincos_positions import sincos_positions


def as_steps(predictor, latents, actions, states, rolls_out=False):
    """Return latents, and a list of actions and, if there are any, states, as tensors.

    Args:
        predictor: `DynamicsPredictor` that is called with them.
        latents: Tensor of shape `(batch_size, num_frames, num_patches, hidden_dim)`.
        actions: Tensor of shape `(batch_size, num_steps, action_dim)`.
        states: Tensor of shape `(batch_size, num_steps, state_dim)`, or `None`.
        rolls_out: Boolean, whether there may be more actions than frames.

    Raises:
        ValueError: If they do not fit the predictor or each other.
    """
    latents = as_tensor("latents", latents, "float32", 4)
    shape = (predictor.num_patches, predictor.hidden_dim)
    num_known = latents.shape[1]
    if tuple(latents.shape[2:]) != shape or not num_known:
        raise ValueError(
            f"`latents` must have shape (batch_size, num_frames, {shape[0]}, "
            f"{shape[1]}). Received: {tuple(latents.shape)}."
        )
    if bool(predictor.state_dim) != (states is not None):
        raise ValueError(
            "`states` must be there for a predictor with a `state_dim`, and only then. "
            f"Received: {'none' if states is None else 'some'}, for state_dim="
            f"{predictor.state_dim}."
        )
    conditions = {"actions": (actions, predictor.action_dim)}
    if states is not None:
        conditions["states"] = (states, predictor.state_dim)
    tensors, num_steps = [], None if rolls_out else num_known
    for name, (value, size) in conditions.items():
        tensor = as_tensor(name, value, "float32", 3)
        num_steps = tensor.shape[1] if num_steps is None else num_steps
        if tuple(tensor.shape[1:]) != (num_steps, size):
            raise ValueError(
                f"`{name}` must have shape (batch_size, {num_steps}, {size}). "
                f"Received: {tuple(tensor.shape)}."
            )
        tensors.append(tensor)
    if not num_known <= num_steps < predictor.num_frames:
        raise ValueError(
            f"`actions` must lead from each of the {num_known} frames of `latents` to "
            f"another one, through up to {predictor.num_frames} frames in all. "
            f"Received: {num_steps} actions. For longer clips make the predictor with "
            "a larger `num_frames`."
        )
    return latents, tensors


@functools.lru_cache(maxsize=32)
def block_causal_mask(num_steps, tokens_per_step):
    """Which tokens may attend to which: to those of their step and of steps before.

    Returns:
        Boolean array of shape `(num_tokens, num_tokens)`.
    """
    steps = np.arange(num_steps * tokens_per_step) // tokens_per_step
    return steps[:, None] >= steps[None]


@functools.lru_cache(maxsize=32)
def step_positions(num_steps, grid_size, dim, num_conditions):
    """Positions of the tokens of steps: of actions and states, then of patches.

    An action belongs to a time and to no place: it has the mean over all places.

    Returns:
        Float32 array of shape `(num_steps, num_conditions + num_patches, dim)`.
    """
    patches = sincos_positions((num_steps, *grid_size), dim)
    patches = patches.reshape(num_steps, -1, dim)
    time = patches.mean(axis=1, keepdims=True)
    return np.concatenate([*[time] * num_conditions, patches], axis=1)
