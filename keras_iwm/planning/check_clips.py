"""Checks of what planning and evaluation of dynamics are given."""

import numpy as np

from keras_iwm.arguments import as_object
from keras_iwm.array_arguments import as_array, check_images

NEEDED = (
    *("encode", "rollout", "action_dim", "slots", "num_frames"),
    *("image_size", "value_range"),
)


def check_dynamics(name, model):
    """Return a model of dynamics without states, or say what is wrong with it."""
    as_object(name, model, NEEDED, "a LatentDynamicsModel")
    if getattr(model, "state_dim", 0):
        raise ValueError(
            f"`{name}` must be a model without states: those of frames to come are not "
            f"known. Received: state_dim={model.state_dim}."
        )
    return model


def check_clips(name, clips, model, smallest=1, following=0) -> np.ndarray:
    """Return clips as a NumPy array, or say what is wrong with them.

    Args:
        name: String, the argument's name in messages.
        clips: Array `(clips, frames, height, width, channels)`.
        model: `LatentDynamicsModel` that they are for.
        smallest: Integer, the frames that are needed.
        following: Integer, the frames that the model is to predict behind them.

    Returns:
        NumPy array of the clips, dtype unchanged.

    Raises:
        ValueError: If shape, size or values are not as needed.
    """
    clips = as_array(name, clips)
    if clips.ndim != 5 or 0 in clips.shape or clips.shape[1] < smallest:
        raise ValueError(
            f"`{name}` must have shape (num_clips, num_frames, height, width, "
            f"channels), with at least one clip of {smallest} frames. Received shape: "
            f"{clips.shape}."
        )
    longest = model.num_frames - following
    if clips.shape[1] > longest:
        raise ValueError(
            f"`{name}` must have {longest} frames or fewer: the model goes up to "
            f"{model.num_frames}, {following} of which are to follow. Received: "
            f"{clips.shape[1]}. Cut the clips, or make the model with more "
            "`num_frames`."
        )
    images = clips.reshape(-1, *clips.shape[2:])
    check_images(images, model.image_size, model.value_range, name, model.num_channels)
    return clips


def check_goals(goals, count, model) -> np.ndarray:
    """Return goal images as a NumPy array, one for each of `count` clips."""
    goals = check_images(
        goals, model.image_size, model.value_range, "goals", model.num_channels
    )
    if len(goals) != count:
        raise ValueError(
            f"`goals` must be {count} images, one for each of the clips in `frames`. "
            f"Received: {len(goals)}."
        )
    return goals


def check_actions(name, actions, shape) -> np.ndarray:
    """Return actions as a float32 NumPy array of this shape within [-1, 1]."""
    actions = as_array(name, actions).astype("float32")
    if actions.shape != tuple(shape):
        raise ValueError(
            f"`{name}` must have shape {tuple(shape)}, one row from each frame to the "
            f"next. Received shape: {actions.shape}."
        )
    # A tolerance for what was divided by its range.
    if not (np.abs(actions) <= 1 + 1e-5).all():
        raise ValueError(
            f"`{name}` must lie in [-1, 1]: divide each slot by its range. Received "
            f"values up to {np.abs(actions).max():g}."
        )
    return actions
