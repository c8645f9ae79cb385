"""The predictor of what follows from frames and actions."""

import math
from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_count, as_grid, as_number
from keras_iwm.backbones.dynamics_steps import (
    as_steps,
    block_causal_mask,
    step_positions,
)
from keras_iwm.distribution.check_splits import check_splits
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.layers.kernel_initializer import as_stddev, kernel_initializer
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.layers.sincos_positions import sincos_positions
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.layers.transformer_block import transformer_blocks
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class DynamicsPredictor(ComposedModel):
    """Predict the next frame's latents from those of frames so far and the actions.

    Each step is a group of tokens: the action that is taken, the state if there is
    one, and the latents of the frame's patches, each through a linear map of its own.
    A token sees all tokens of its step and of the steps before, and none that comes
    later; what the patches of a step become says what the frame that follows is
    (V-JEPA 2-AC, arXiv 2506.09985, section 3). `rollout` feeds predictions back, and
    computes each step once: keys and values of those before are kept.

    It departs from the paper in three ways, of which the first makes short runs learn
    sooner: a prediction is the frame before plus a change, which is nothing at the
    start; patches are told action and state at once, by a sum, beside their tokens;
    and positions are fixed sines and cosines of time, row and column, where the paper
    rotates. Actions and states belong to a time, and to no place.

    Args:
        grid_size: Pair of integers, rows and columns of a frame's patches.
        hidden_dim: Integer, features of a latent.
        predictor_dim: Integer, features inside the predictor; a multiple of 4 and of
            `num_heads`, and at least 8.
        num_layers: Integer, number of blocks.
        num_heads: Integer, number of attention heads.
        action_dim: Integer, numbers of an action.
        state_dim: Integer, numbers of a state; 0 if there is none.
        num_frames: Integer of at least 2, frames of the longest clip that it is trained
            on or rolls out.
        mlp_dim: Integer, width of each block's MLP. Defaults to `4 * predictor_dim`.
        drop_path_rate: Float in [0, 1), stochastic depth of the last block; it rises
            linearly from 0 at the first.
        remat: Boolean. If `True`, activations are computed again in the backward pass.
        initializer_stddev: Optional float, the deviation of a normal from which
            kernels start. Defaults to Glorot's uniform.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_steps, num_patches, hidden_dim)`,
            the latents of frames that follow each other, normalised as
            `normalize_latents` does. At most `num_frames - 1` of them.
        actions: Tensor of shape `(batch_size, num_steps, action_dim)`: what leads from
            each of the frames to the next.
        states: Tensor of shape `(batch_size, num_steps, state_dim)`, the state at each
            of the frames, if the predictor was made with a `state_dim`.
        training: Boolean, whether to drop paths.

    Returns:
        Float32 tensor of the shape of `latents`: at each place the normalised latents
        of the frame that follows.

    Raises:
        ValueError: If a size does not divide, or the inputs do not fit each other.

    Example:

    ```python
    predictor = keras_iwm.backbones.DynamicsPredictor(
        grid_size=(4, 4), hidden_dim=64, predictor_dim=32, num_layers=2,
        num_heads=2, action_dim=2,
    )
    latents = keras.random.normal((2, 5, 16, 64))
    actions = keras.random.uniform((2, 5, 2), -1, 1)
    following = predictor(latents, actions)  # (2, 5, 16, 64)
    imagined = predictor.rollout(latents[:, :1], actions)  # (2, 5, 16, 64)
    ```
    """

    def __init__(
        self,
        grid_size: tuple[int, int],
        hidden_dim: int,
        predictor_dim: int,
        num_layers: int,
        num_heads: int,
        action_dim: int,
        state_dim: int = 0,
        num_frames: int = 8,
        mlp_dim: int | None = None,
        drop_path_rate: float = 0.0,
        remat: bool = False,
        initializer_stddev: float | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        self.grid_size = as_grid("grid_size", grid_size)
        if len(self.grid_size) != 2:
            raise ValueError(
                "`grid_size` must be the rows and columns of a frame, such as (8, 8). "
                f"Received: grid_size={grid_size}. Frames are encoded one by one."
            )
        self.num_patches = math.prod(self.grid_size)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.predictor_dim = as_count("predictor_dim", predictor_dim)
        self.num_layers = as_count("num_layers", num_layers)
        self.num_heads = as_count("num_heads", num_heads)
        self.action_dim = as_count("action_dim", action_dim)
        self.state_dim = as_count("state_dim", state_dim, smallest=0)
        self.num_frames = as_count("num_frames", num_frames, smallest=2)
        mlp_dim = 4 * self.predictor_dim if mlp_dim is None else mlp_dim
        self.mlp_dim = as_count("mlp_dim", mlp_dim)
        self.drop_path_rate = as_number(
            "drop_path_rate", drop_path_rate, 0.0, 1.0, below=True
        )
        self.remat = as_boolean("remat", remat)
        self.initializer_stddev = as_stddev(initializer_stddev)
        sincos_positions((1, 1, 1), predictor_dim)  # refuses a wrong width early
        width = "predictor_dim", predictor_dim
        check_splits(self.name, width, num_heads, self.mlp_dim)
        self.input_projection = self._dense(predictor_dim, "input_projection")
        self.action_projection = self._dense(predictor_dim, "action_projection")
        if self.state_dim:
            self.state_projection = self._dense(predictor_dim, "state_projection")
        names = ("num_heads", "mlp_dim", "remat", "initializer_stddev")
        self.blocks = transformer_blocks(
            self.num_layers,
            self.drop_path_rate,
            dtype=self.dtype_policy,
            **{name: getattr(self, name) for name in names},
        )
        self.norm = TokenNorm(dtype=self.dtype_policy, name="norm")
        self.output_projection = TokenDense(
            self.hidden_dim,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="output_projection",
        )
        self.build()
        self.trainable = trainable

    def _dense(self, units, name):
        """A linear map of tokens."""
        return TokenDense(
            units,
            kernel_initializer=kernel_initializer(self.initializer_stddev),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self) -> None:
        """Create all weights; the constructor does it."""
        if self.built:
            return
        self.input_projection.build((None, None, self.hidden_dim))
        self.action_projection.build((None, None, self.action_dim))
        if self.state_dim:
            self.state_projection.build((None, None, self.state_dim))
        for layer in (*self.blocks, self.norm, self.output_projection):
            layer.build((None, None, self.predictor_dim))

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a step: action, state if there is one, patches."""
        return 1 + bool(self.state_dim) + self.num_patches

    def call(
        self,
        latents: Tensor,
        actions: Tensor,
        states: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Predict the frame after each of the frames."""
        latents, conditions = as_steps(self, latents, actions, states)
        tokens = self._tokens(latents, conditions, 0)
        num_steps, *step = tokens.shape[1:]
        mask = ops.convert_to_tensor(block_causal_mask(num_steps, step[0]))
        tokens = ops.reshape(tokens, (-1, num_steps * step[0], step[1]))
        for block in self.blocks:
            tokens = block(tokens, attention_mask=mask, training=training)
        return self._predictions(latents, ops.reshape(tokens, (-1, num_steps, *step)))

    def rollout(
        self, latents: Tensor, actions: Tensor, states: Tensor | None = None
    ) -> Tensor:
        """Predict frame after frame, each from those before it, predicted or known.

        Args:
            latents: Tensor of shape `(batch_size, num_known, num_patches, hidden_dim)`,
                normalised latents of the frames that are known.
            actions: Tensor of shape `(batch_size, num_known - 1 + horizon,
                action_dim)`: what leads from each frame to the next, from the first
                known one to that before the last prediction.
            states: Tensor of shape `(batch_size, num_known - 1 + horizon, state_dim)`,
                if the predictor was made with a `state_dim`: also of the frames that
                are to be predicted, but the last.

        Returns:
            Float32 tensor of shape `(batch_size, horizon, num_patches, hidden_dim)`.

        Raises:
            ValueError: If the inputs do not fit each other.
        """
        latents, conditions = as_steps(self, latents, actions, states, rolls_out=True)
        num_known, num_steps = latents.shape[1], conditions[0].shape[1]
        past = [None] * self.num_layers
        predictions = []
        for step in range(num_steps):
            known = step < num_known
            frame = latents[:, step : step + 1] if known else predictions[-1]
            here = [condition[:, step : step + 1] for condition in conditions]
            tokens = self._tokens(frame, here, step)[:, 0]
            for index, block in enumerate(self.blocks):
                tokens, past[index] = block.follow(tokens, past[index])
            if step >= num_known - 1:
                predictions.append(self._predictions(frame, tokens[:, None]))
        return ops.concatenate(predictions, axis=1)

    def _tokens(self, latents, conditions, first_step):
        """Tokens of steps, of shape (batch, steps, tokens, predictor_dim)."""
        layers = [self.action_projection]
        if self.state_dim:
            layers.append(self.state_projection)
        parts = [
            layer(ops.cast(condition, self.compute_dtype))[:, :, None]
            for layer, condition in zip(layers, conditions, strict=True)
        ]
        patches = self.input_projection(ops.cast(latents, self.compute_dtype))
        parts.append(sum(parts, patches))
        positions = step_positions(
            self.num_frames, self.grid_size, self.predictor_dim, len(conditions)
        )[first_step : first_step + latents.shape[1]]
        positions = ops.convert_to_tensor(positions, dtype=self.compute_dtype)
        return ops.concatenate(parts, axis=2) + positions[None]

    def _predictions(self, latents, tokens):
        """Latents of the frames that follow: those of the frames, changed."""
        patches = tokens[:, :, -self.num_patches :]
        change = ops.cast(self.output_projection(self.norm(patches)), "float32")
        return normalize_latents(latents + change)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = (
            *("grid_size", "hidden_dim", "predictor_dim", "num_layers", "num_heads"),
            *("action_dim", "state_dim", "num_frames", "mlp_dim", "drop_path_rate"),
            *("remat", "initializer_stddev"),
        )
        return super().get_config() | {name: getattr(self, name) for name in names}
