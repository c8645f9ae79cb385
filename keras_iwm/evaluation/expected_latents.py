"""What is expected of the next frames of clips, and how far what comes is from it."""

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import KeptState
from keras_iwm.distribution.device_batches import even_batch
from keras_iwm.evaluation.untrained_copy import untrained_copy
from keras_iwm.layers.normalize_latents import normalize_latents

EXPECTATIONS = ("prediction", "copy", "untrained")
_INPUTS = ("frames", "actions")


class ExpectedLatents(KeptState, keras.Model):
    """A model's expectations of clips, compiled once for many of them.

    Args:
        model: `LatentDynamicsModel` or `VideoWorldModel`.
    """

    def __init__(self, model):
        super().__init__(autocast=False, name="expected_latents")
        self.model = model
        self.untrained = untrained_copy(model)
        # Frames of a step.
        self.step_size = 1 if is_dynamics(model) else model.encoder.tubelet_size
        self.built = True

    def differences(self, frames, actions, batch_size):
        """Mean absolute differences at each frame, see `surprise`.

        Args:
            frames: Array of clips that fit the model.
            actions: Array `(num_clips, num_frames - 1, action_dim)`.
            batch_size: Positive integer.

        Returns:
            Dictionary of float32 arrays `(num_clips, num_frames)`.
        """
        batch_size = even_batch(min(batch_size, len(frames)))
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
            steps = self.predict_on_batch(dict(zip(_INPUTS, batch, strict=True)))
            steps = np.repeat(steps, self.step_size, axis=-1)
            part = found[:, start : start + batch_size, self.step_size :]
            part[:] = np.moveaxis(steps, 1, 0)[:, : part.shape[1]]
        return dict(zip(EXPECTATIONS, found, strict=True))

    def call(self, inputs, training=None):
        """Compare each step with what is expected of it.

        Returns:
            Tensor `(batch_size, expectations, steps)`.
        """
        of_steps = self._of_frames if is_dynamics(self.model) else self._of_tubelets
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


def is_dynamics(model):
    """Whether a model is told actions, and predicts frame by frame."""
    return hasattr(model, "predict_next")
