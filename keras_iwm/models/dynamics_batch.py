"""Batches of frames and actions, in the forms in which users have them."""

import keras
import numpy as np

from keras_iwm.arguments import as_count, as_names, shown
from keras_iwm.array_arguments import as_array, check_batch_of_clips

KEYS = ("frames", "actions", "states")


def as_one_input(data):
    """Return a batch of Keras's whose actions, a pair's second member, are inputs.

    Args:
        data: What Keras hands to `train_step`.
    """
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    return data if y is None else ({"frames": x, "actions": y},)


def parts_of(inputs, name="x"):
    """Return frames, actions and states, or `None`, of a dictionary or a pair.

    Args:
        inputs: Dictionary with `"frames"`, `"actions"` and, if there are any,
            `"states"`; or the tuple of the three or two.
        name: String, what they are called in messages.
    """
    if isinstance(inputs, dict) and {*KEYS[:2]} <= set(inputs) <= {*KEYS}:
        return inputs["frames"], inputs["actions"], inputs.get("states")
    if isinstance(inputs, (tuple, list)) and len(inputs) in (2, 3):
        return (*inputs, None)[:3]
    came = f"a {type(inputs).__name__}"
    if isinstance(inputs, dict):
        came = f"a dictionary with the keys {sorted(inputs)}"
    raise ValueError(
        f"`{name}` must be a pair (frames, actions), or a dictionary with 'frames', "
        f"'actions' and, for a model with a `state_dim`, 'states'. Received: {came}."
    )


def check_batch_of_actions(model, x, y, sample_weight, name):
    """Refuse a batch that cannot be meant for a model.

    Args:
        model: `LatentDynamicsModel`.
        x: Frames; or a dictionary, or tuple, of frames, actions and states.
        y: Actions, or `None` if they are in `x`.
        sample_weight: `None`.
        name: String, what the batch is called in messages.
    """
    if sample_weight is not None:
        raise ValueError(
            "A batch must be (frames, actions), or a dictionary. Received a third "
            "member. With states pass a dictionary of 'frames', 'actions', 'states'."
        )
    if y is not None and isinstance(x, (dict, tuple, list)):
        raise ValueError(
            f"`{name}` must be frames if there is a second member, the actions. "
            f"Received: a {type(x).__name__}. A dictionary stands alone."
        )
    frames, actions, states = parts_of(x if y is None else (x, y), name)
    encoder = model.encoder
    frames = as_array(f"{name}: frames", frames)
    check_batch_of_clips(
        frames, encoder.num_channels, encoder.value_range, f"{name}: frames"
    )
    num_clips, num_frames, *size = frames.shape[:-1]
    fewest = 1 + max(1, model.rollout_steps)
    if tuple(size) != encoder.image_size or not (
        fewest <= num_frames <= model.num_frames
    ):
        raise ValueError(
            f"`{name}` must hold clips of {fewest} to {model.num_frames} frames of "
            f"{encoder.image_size} pixels. Received: {num_frames} frames of "
            f"{tuple(size)}. Resize or cut them, or make the model with their "
            "`image_size` and `num_frames`."
        )
    check_numbers("actions", actions, (num_clips, num_frames - 1, model.action_dim))
    if (states is not None) != bool(model.state_dim):
        raise ValueError(
            f"`states` must be there for a model with a `state_dim`, and only then. "
            f"Received: {'none' if states is None else 'some'}, for state_dim="
            f"{model.state_dim}."
        )
    if states is not None:
        check_numbers("states", states, (num_clips, num_frames, model.state_dim))


def check_numbers(name, value, shape):
    """Refuse actions or states of another shape, or that are not finite."""
    array = as_array(name, value)
    if array.shape != shape:
        raise ValueError(
            f"`{name}` must have shape {shape}, as the frames have it. Received: "
            f"{array.shape}. There is an action from each frame to the next, one less "
            "than frames, and a state of each frame."
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must hold finite numbers. Received dtype {array.dtype} with NaN "
            "or infinity, or no numbers. Remove or repair these clips."
        )


def as_slots(slots):
    """The names of the numbers of an action as a tuple: those that came, or others.

    Args:
        slots: List of different names, or how many there are.
    """
    if not isinstance(slots, (list, tuple)):
        return tuple(f"slot_{index}" for index in range(as_count("slots", slots)))
    names = as_names("slots", slots)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`slots` must be names that differ, one for each number of an action, or "
            f"their number. Received: slots={shown(slots)}."
        )
    return names
