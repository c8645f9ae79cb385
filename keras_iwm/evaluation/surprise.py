"""How far what a model expects of a clip is from what comes."""

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_object, shown
from keras_iwm.array_arguments import as_array, check_batch_of_clips
from keras_iwm.backend import KeptState
from keras_iwm.evaluation.untrained_copy import untrained_copy
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.type_aliases import AnyModel, Array

EXPECTATIONS = ("prediction", "copy", "untrained")


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
    batch_size = min(as_count("batch_size", batch_size), len(frames))
    differences = _Differences(model)
    found = np.full((len(EXPECTATIONS), *frames.shape[:2]), np.nan, "float32")
    for start in range(0, len(frames), batch_size):
        batch = [
            np.pad(
                part[start : start + batch_size],
                [(0, max(0, start + batch_size - len(frames)))] + [(0, 0)] * rest,
                mode="edge",
            )
            for part, rest in ((frames, 4), (actions, 2))
        ]
        steps = differences.predict_on_batch(dict(zip(_INPUTS, batch, strict=True)))
        steps = np.repeat(steps, differences.step_size, axis=-1)
        part = found[:, start : start + batch_size, differences.step_size :]
        part[:] = np.moveaxis(steps, 1, 0)[:, : part.shape[1]]
    return dict(zip(EXPECTATIONS, found, strict=True))


_INPUTS = ("frames", "actions")


class _Differences(KeptState, keras.Model):
    """Mean absolute differences, `(batch_size, expectations, steps)`."""

    def __init__(self, model):
        super().__init__(autocast=False, name="differences")
        self.model = model
        self.untrained = untrained_copy(model)
        # Frames of a step.
        self.step_size = 1 if _is_dynamics(model) else model.encoder.tubelet_size
        self.built = True

    def call(self, inputs, training=None):
        """Compare each step with what is expected of it."""
        of_steps = self._of_frames if _is_dynamics(self.model) else self._of_tubelets
        return ops.stack(
            [
                ops.mean(ops.abs(expected - came), axis=(2, 3))
                for expected, came in of_steps(**inputs)
            ],
            axis=1,
        )

    def _of_frames(self, frames, actions):
        """Pairs of what is expected of all frames but the first, and what comes."""
        latents = self.model.encode(frames)
        untrained = self.model.latents_of(self.untrained, frames)
        return (
            (self.model.predict_next(latents[:, :-1], actions), latents[:, 1:]),
            (latents[:, :-1], latents[:, 1:]),
            (untrained[:, :-1], untrained[:, 1:]),
        )

    def _of_tubelets(self, frames, actions):
        """Pairs of what is expected of all tubelets but the first, and what comes."""
        model = self.model
        depth, *rows_and_columns = model.encoder.grid_size
        num_patches = int(np.prod(rows_and_columns))
        ids = ops.broadcast_to(
            ops.arange(depth * num_patches)[None],
            (ops.shape(frames)[0], depth * num_patches),
        )
        steps = []
        for step in range(1, depth):
            past, now = ids[:, : step * num_patches], ids[:, : (step + 1) * num_patches]
            predicted = model.predictor(
                model.encoder(frames, past, training=False),
                past,
                now[:, -num_patches:],
                # The kind of mask that hides most.
                mask_index=model.predictor.num_mask_tokens - 1,
                training=False,
            )
            pairs = [(normalize_latents(predicted), None)]
            for encoder in (model.feature_encoder, self.untrained):
                latents = normalize_latents(encoder(frames, now, training=False))
                latents = latents[:, -2 * num_patches :]
                pairs.append((latents[:, :num_patches], latents[:, num_patches:]))
            pairs[0] = (pairs[0][0], pairs[1][1])
            steps.append(pairs)
        return [
            [ops.stack(side, axis=1) for side in zip(*pairs, strict=True)]
            for pairs in zip(*steps, strict=True)
        ]


def check_predicts_frames(model):
    """Refuse what is neither a dynamics model without states nor a video model."""
    expected = "a LatentDynamicsModel or a VideoWorldModel"
    as_object("model", model, ("encoder", "feature_encoder", "predictor"), expected)
    is_video = len(model.encoder.grid_size) == 3
    if not (_is_dynamics(model) or is_video) or getattr(model, "state_dim", 0):
        raise ValueError(
            f"`model` must be {expected}, without states. Received: {shown(model)}."
        )


def _is_dynamics(model):
    """Whether a model is told actions, and predicts frame by frame."""
    return hasattr(model, "predict_next")


def _check_clips(model, frames, actions):
    """Clips and actions as arrays that fit the model; without actions, empty ones."""
    encoder = model.encoder
    frames = as_array("frames", frames)
    check_batch_of_clips(frames, encoder.num_channels, encoder.value_range, "frames")
    count, num_frames, *size = frames.shape[:-1]
    dynamics = _is_dynamics(model)
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
