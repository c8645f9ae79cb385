"""Errors of rollouts, compiled once."""

import keras
from keras import ops

from keras_iwm.distribution.device_batches import split_batch
from keras_iwm.layers.shared_program import SharedProgram


class DynamicsErrors(SharedProgram):
    """What a model of dynamics expects of clips, compared with what came.

    It shares the model and owns no weights.

    Args:
        model: `LatentDynamicsModel`.
        num_known: Integer, the frames that a rollout starts from.
    """

    def __init__(self, model, num_known):
        super().__init__(model, num_known)
        self.model = model
        self.num_known = num_known
        self.built = True

    def call(self, inputs):
        """Roll out under the actions and under controls.

        Args:
            inputs: Dictionary of `frames` `(clips, frames, height, width, channels)`,
                and of `actions` and `shuffled`, `(clips, frames - 1, action_dim)`.

        Returns:
            Dictionary of mean absolute differences `(clips, horizon)`: `model`,
            `copy_last_frame`, `zero_action` and `shuffled_action`.
        """
        inputs, known = keras.tree.map_structure(split_batch, inputs), self.num_known
        latents = self.model.encode(inputs["frames"])
        known_latents, future = latents[:, :known], latents[:, known:]
        actions, shuffled = inputs["actions"], inputs["shuffled"]
        past = actions[:, : known - 1]

        def after(actions):
            actions = ops.concatenate([past, actions[:, known - 1 :]], axis=1)
            return self.model.rollout(known_latents, actions)

        expected = {
            "model": after(actions),
            "copy_last_frame": known_latents[:, -1:],
            "zero_action": after(ops.zeros_like(actions)),
            "shuffled_action": after(shuffled),
        }
        return {
            name: ops.mean(ops.abs(latents - future), axis=(2, 3))
            for name, latents in expected.items()
        }
