"""What is asked of a model of latents over time, and how it takes its batches."""

from typing import Any

from keras import ops

from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.dynamics_batch import (
    as_one_input,
    check_batch_of_actions,
    parts_of,
)
from keras_iwm.type_aliases import Tensor


class LatentDynamics:
    """Base class of a model with a `feature_encoder` of frames and a `predictor`."""

    makes_views = False

    @property
    def action_dim(self) -> int:
        """Numbers of an action."""
        return self.predictor.action_dim

    @property
    def state_dim(self) -> int:
        """Numbers of a state, 0 if there is none."""
        return self.predictor.state_dim

    @property
    def num_frames(self) -> int:
        """Frames of the longest clip."""
        return self.predictor.num_frames

    @property
    def num_patches(self) -> int:
        """Number of patches of a frame."""
        return self.predictor.num_patches

    def encode(self, frames: Tensor) -> Tensor:
        """Return the feature encoder's normalised latents of each frame.

        Args:
            frames: Tensor of shape `(batch_size, num_frames, height, width,
                num_channels)`.

        Returns:
            Float32 tensor of shape `(batch_size, num_frames, num_patches, hidden_dim)`,
            without a gradient.
        """
        return ops.stop_gradient(self.latents_of(self.feature_encoder, frames))

    def predict_next(
        self, latents: Tensor, actions: Tensor, states: Tensor | None = None
    ) -> Tensor:
        """Predict the latents of the frame after each of the frames.

        Args:
            latents: Tensor of shape `(batch_size, num_steps, num_patches, hidden_dim)`,
                as `encode` makes them.
            actions: Tensor of shape `(batch_size, num_steps, action_dim)`.
            states: Tensor of shape `(batch_size, num_steps, state_dim)`, for a model
                with a `state_dim`.

        Returns:
            Float32 tensor of the shape of `latents`, normalised.
        """
        return self.predictor(latents, actions, states, training=False)

    def rollout(
        self, latents: Tensor, actions: Tensor, states: Tensor | None = None
    ) -> Tensor:
        """Predict the latents of frames to come, each from those before it.

        Args:
            latents: Tensor of shape `(batch_size, num_known, num_patches, hidden_dim)`,
                of the frames that are known, as `encode` makes them.
            actions: Tensor of shape `(batch_size, num_known - 1 + horizon,
                action_dim)`, from that which leads from the first frame.
            states: Tensor of shape `(batch_size, num_known - 1 + horizon, state_dim)`,
                for a model with a `state_dim`.

        Returns:
            Float32 tensor of shape `(batch_size, horizon, num_patches, hidden_dim)`.
        """
        return self.predictor.rollout(latents, actions, states)

    def latents_of(
        self, encoder: ViTEncoder, frames: Tensor, training: bool | None = False
    ) -> Tensor:
        """Return an encoder's normalised latents of each frame, encoded alone."""
        frames = ops.convert_to_tensor(frames)
        num_frames, *image = frames.shape[1:]
        latents = encoder(ops.reshape(frames, (-1, *image)), training=training)
        shape = (-1, num_frames, self.num_patches, encoder.hidden_dim)
        return normalize_latents(ops.reshape(latents, shape))

    def train_step(self, *arguments: Any) -> Any:
        """Take a step on a batch, whose actions may be a pair's second member."""
        *state, data = arguments  # the state on JAX alone
        return super().train_step(*state, as_one_input(data))

    def test_step(self, *arguments: Any) -> Any:
        """Evaluate a batch, see `train_step`."""
        *state, data = arguments
        return super().test_step(*state, as_one_input(data))

    def predict_step(self, *arguments: Any) -> Any:
        """Predict a batch, see `train_step`."""
        *state, data = arguments
        return super().predict_step(*state, as_one_input(data))

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse frames, actions and states that cannot be meant."""
        check_batch_of_actions(self, x, y, sample_weight, name)

    def start_anew_for(self, images: Any, function: str) -> None:
        """Let clips of another length be taken as those before were."""
        if isinstance(images, (dict, tuple, list)):
            images = parts_of(images)[0]
        super().start_anew_for(images, function)
