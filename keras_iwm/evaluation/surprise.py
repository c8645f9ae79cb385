"""How far what a model expects of a clip is from what comes."""

import numpy as np

from keras_iwm.arguments import as_count, as_object, shown
from keras_iwm.array_arguments import as_array, check_batch_of_clips
from keras_iwm.evaluation.expected_latents import ExpectedLatents, is_dynamics
from keras_iwm.type_aliases import AnyModel, Array


def surprise(
    model: AnyModel, frames: Array, actions: Array | None = None, batch_size: int = 32
) -> dict[str, np.ndarray]:
    """Difference of what a model expects next in clips from what comes, over time.

    The violation of expectation by which infants and video models are tested
    (arXiv 2502.11831): it jumps where something happens that the model did not
    expect. It means something beside that of another clip which is the same until
    then; see `evaluate_surprise`.

    Each step is predicted from all steps before it. A dynamics model predicts
    frames, and is told the actions. A masked video model predicts tubelets, as patches
    that are hidden; neither the prediction nor its target has seen later frames.

    Args:
        model: `LatentDynamicsModel` without states, or `VideoWorldModel`.
        frames: Array of clips `(num_clips, num_frames, height, width, num_channels)` of
            the model's `image_size` and in its `value_range`: at most as many frames as
            a dynamics model was made for, exactly as many for a video model.
        actions: Numbers `(num_clips, num_frames - 1, action_dim)` for a dynamics model;
            `None` for a video model.
        batch_size: Positive integer. The last batch is filled up.

    Returns:
        Dictionary of float32 NumPy arrays `(num_clips, num_frames)`, the mean absolute
        difference of normalised latents at each frame, NaN at the first ones, of which
        nothing is expected:

        - `prediction`: of the model's prediction.
        - `copy`: of the step before, as if nothing changed.
        - `untrained`: the same with the latents of an untrained encoder.

    Raises:
        ValueError: If the model predicts no frames, or clips or actions do not fit it.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False, num_frames=4
    )
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 4, 64, 64, 3), "uint8")
    actions = rng.uniform(-1, 1, (2, 3, 4)).astype("float32")
    found = keras_iwm.evaluation.surprise(model, frames, actions)
    found["prediction"].shape  # (2, 4)
    ```
    """
    check_predicts_frames(model)
    frames, actions = _check_clips(model, frames, actions)
    batch_size = as_count("batch_size", batch_size)
    return ExpectedLatents(model).differences(frames, actions, batch_size)


def check_predicts_frames(model):
    """Refuse what is neither a dynamics model without states nor a video model."""
    expected = "a LatentDynamicsModel or a VideoWorldModel"
    as_object("model", model, ("encoder", "feature_encoder", "predictor"), expected)
    is_video = len(model.encoder.grid_size) == 3
    if not (is_dynamics(model) or is_video) or getattr(model, "state_dim", 0):
        raise ValueError(
            f"`model` must be {expected}, without states. Received: {shown(model)}."
        )


def _check_clips(model, frames, actions):
    """Clips and actions as arrays that fit the model; without actions, empty ones."""
    encoder = model.encoder
    frames = as_array("frames", frames)
    check_batch_of_clips(frames, encoder.num_channels, encoder.value_range, "frames")
    count, num_frames, *size = frames.shape[:-1]
    dynamics = is_dynamics(model)
    fewest, most = (2, model.num_frames) if dynamics else [encoder.num_frames] * 2
    if tuple(size) != encoder.image_size or not fewest <= num_frames <= most:
        raise ValueError(
            f"`frames` must be clips of {fewest} to {most} frames of "
            f"{encoder.image_size} pixels, as the model's. Received: {num_frames} "
            f"frames of {tuple(size)}. Cut or resize them."
        )
    if not dynamics:
        if actions is not None:
            raise ValueError(
                "`actions` must be None for a video model, which is told none. "
                f"Received: {shown(actions)}."
            )
        return frames, np.zeros((count, num_frames - 1, 0), "float32")
    actions = as_array("actions", actions)
    expected = (count, num_frames - 1, model.action_dim)
    if actions.shape != expected or not np.isfinite(actions).all():
        raise ValueError(
            f"`actions` must be finite numbers of shape {expected}, as the clips and "
            f"the model have them. Received: shape {actions.shape}."
        )
    return frames, actions.astype("float32")
