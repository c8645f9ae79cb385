"""The predictor, which is the world model."""

from typing import Any, Literal, get_args

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_choice, as_count, as_grid, as_number
from keras_iwm.backbones.check_action import check_action
from keras_iwm.distribution.check_splits import check_splits
from keras_iwm.layers.action_features import ActionFeatures
from keras_iwm.layers.action_tokens import ActionTokens
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.layers.kernel_initializer import as_stddev, kernel_initializer
from keras_iwm.layers.position_embedding import (
    ROTARY,
    GivenPositions,
    PositionEmbedding,
)
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.layers.transformer_block import transformer_blocks
from keras_iwm.type_aliases import Config, Tensor

CONDITIONINGS = ("none", "sequence", "feature")


@keras.saving.register_keras_serializable(package="keras_iwm")
class WorldModelPredictor(ComposedModel):
    """Predict the latents that an action leads to, at the positions asked for.

    A narrow vision transformer of its own depth sees the context latents of the
    source and one mask token for each position to predict. The mask tokens know
    their positions, the geometric part of the action; the photometric part, the
    action itself, reaches them by the `conditioning` (image world models, arXiv
    2403.00504, section 3).

    Args:
        grid_size: Tuple of integers, the encoder's grid: rows and columns for images.
        hidden_dim: Integer, features of the encoder's latents.
        predictor_dim: Integer, features inside the predictor; a multiple of 4 and
            of `num_heads`.
        num_layers: Integer, number of blocks.
        num_heads: Integer, number of attention heads.
        mlp_dim: Integer, width of each block's MLP. Defaults to
            `4 * predictor_dim`.
        action_dim: Integer, number of slots of the action; the view generator's
            `action_dim`. Not used by conditioning `"none"`.
        conditioning: One of `"feature"` (the action is joined to each mask token
            by an MLP), `"sequence"` (one further token for each slot) and
            `"none"` (the action is not seen: I-JEPA).
        drop_path_rate: Float in [0, 1), stochastic depth of the last block; it
            rises linearly from 0 at the first.
        remat: Boolean. If `True`, activations are computed again in the backward
            pass.
        initializer_stddev: Optional float, the deviation of a normal from
            which kernels start, 0.02 in I-JEPA. Defaults to Glorot's uniform.
        positions: Fixed or rotary ones, see `ViTEncoder`.
        output_dim: Optional integer, features of what is predicted. Defaults to
            `hidden_dim`: latents.
        num_mask_tokens: Integer, learned mask tokens: one for each kind of mask, as in
            V-JEPA.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        context_latents: Tensor of shape `(batch_size, num_context, hidden_dim)`.
        context_ids: Integer tensor of shape `(batch_size, num_context)`, where on
            the grid the context latents come from.
        target_ids: Integer tensor of shape `(batch_size, num_targets)`, the
            positions to predict; or `(batch_size, num_blocks, num_targets)` for
            blocks that are predicted apart from each other, as in I-JEPA.
        action: Float tensor of shape `(batch_size, action_dim)`; may be left out
            with conditioning `"none"`.
        training: Boolean, whether to drop paths.
        extra_tokens: Optional tensor of shape `(batch_size, num_tokens,
            predictor_dim)`, further tokens of the sequence that all others see and
            that are not returned, such as the token of a task.
        grid_size: Optional tuple of integers, the grid on which the ids count if the
            images are of another size than the predictor was made for: positions
            are resampled, as the encoder's are.
        mask_index: Integer, which of the mask tokens to take.

    Returns:
        Tensor of the shape of `target_ids` with `output_dim` behind it, in the
        compute dtype.

    Raises:
        ValueError: If a size does not divide, the conditioning is unknown, or the
            action is missing or has another number of slots.

    Example:

    ```python
    predictor = keras_iwm.backbones.WorldModelPredictor(
        grid_size=(4, 4), hidden_dim=64, predictor_dim=32, num_layers=2,
        num_heads=2, action_dim=7,
    )
    latents = keras.random.normal((2, 5, 64))
    context_ids = keras.ops.array([[0, 1, 2, 3, 4]] * 2)
    target_ids = keras.ops.array([[10, 11, 12]] * 2)
    action = keras.ops.zeros((2, 7))
    prediction = predictor(latents, context_ids, target_ids, action)  # (2, 3, 64)
    ```
    """

    def __init__(
        self,
        grid_size: tuple[int, ...],
        hidden_dim: int,
        predictor_dim: int,
        num_layers: int,
        num_heads: int,
        mlp_dim: int | None = None,
        action_dim: int = 7,
        conditioning: Literal["none", "sequence", "feature"] = "feature",
        drop_path_rate: float = 0.0,
        remat: bool = False,
        initializer_stddev: float | None = None,
        positions: GivenPositions = "rows_first",
        output_dim: int | None = None,
        num_mask_tokens: int = 1,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        conditioning = as_choice("conditioning", conditioning, CONDITIONINGS)
        self.grid_size = as_grid("grid_size", grid_size)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.predictor_dim = as_count("predictor_dim", predictor_dim)
        self.num_layers = as_count("num_layers", num_layers)
        self.num_heads = as_count("num_heads", num_heads)
        self.mlp_dim = as_count(
            "mlp_dim", 4 * self.predictor_dim if mlp_dim is None else mlp_dim
        )
        self.action_dim = as_count("action_dim", action_dim, smallest=0)
        self.conditioning = conditioning
        if conditioning != "none" and self.action_dim < 1:
            raise ValueError(
                f"Conditioning {conditioning!r} needs an action of at least one slot. "
                f"Received: action_dim={action_dim}. Give the view generator some "
                "operations, or choose conditioning='none'."
            )
        self.drop_path_rate = as_number(
            "drop_path_rate", drop_path_rate, 0.0, 1.0, below=True
        )
        self.remat = as_boolean("remat", remat)
        self.initializer_stddev = as_stddev(initializer_stddev)
        self.positions = as_choice("positions", positions, get_args(GivenPositions))
        output_dim = self.hidden_dim if output_dim is None else output_dim
        self.output_dim = as_count("output_dim", output_dim)
        self.num_mask_tokens = as_count("num_mask_tokens", num_mask_tokens)
        width = "predictor_dim", predictor_dim
        check_splits(self.name, width, num_heads, self.mlp_dim)

        policy = self.dtype_policy
        self.input_projection = TokenDense(
            predictor_dim,
            kernel_initializer=kernel_initializer(self.initializer_stddev),
            dtype=policy,
            name="input_projection",
        )
        self.position_embedding = PositionEmbedding(
            self.positions,
            self.grid_size,
            self.predictor_dim,
            self.num_heads,
            dtype=policy,
            name="position_embedding",
        )
        several = (self.num_mask_tokens,) if self.num_mask_tokens > 1 else ()
        self.mask_token = self.add_weight(
            shape=(*several, predictor_dim),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="mask_token",
        )
        if conditioning == "sequence":
            self.action_tokens = ActionTokens(
                predictor_dim, dtype=policy, name="action_tokens"
            )
        elif conditioning == "feature":
            self.action_features = ActionFeatures(
                predictor_dim, dtype=policy, name="action_features"
            )
        self.blocks = transformer_blocks(
            self.num_layers,
            self.drop_path_rate,
            num_heads=self.num_heads,
            mlp_dim=self.mlp_dim,
            remat=self.remat,
            initializer_stddev=self.initializer_stddev,
            # Nothing cancels it in keys that are turned.
            use_key_bias=self.positions in ROTARY,
            dtype=policy,
        )
        self.norm = TokenNorm(dtype=policy, name="norm")
        self.output_projection = TokenDense(
            self.output_dim,
            kernel_initializer=kernel_initializer(self.initializer_stddev),
            dtype=policy,
            name="output_projection",
        )
        self.build()
        self.trainable = trainable

    def build(self) -> None:
        """Create all weights; the constructor does it."""
        if self.built:
            return
        tokens_shape = (None, None, self.predictor_dim)
        self.input_projection.build((None, None, self.hidden_dim))
        self.position_embedding.build()
        if self.conditioning == "sequence":
            self.action_tokens.build((None, self.action_dim))
        elif self.conditioning == "feature":
            self.action_features.build(tokens_shape, (None, self.action_dim))
        for block in (*self.blocks, self.norm, self.output_projection):
            block.build(tokens_shape)

    def call(
        self,
        context_latents: Tensor,
        context_ids: Tensor,
        target_ids: Tensor,
        action: Tensor | None = None,
        training: bool | None = None,
        extra_tokens: Tensor | None = None,
        grid_size: tuple[int, ...] | None = None,
        mask_index: int = 0,
    ) -> Tensor:
        """Predict the latents at `target_ids` after `action`."""
        as_count("mask_index", mask_index, 0, self.num_mask_tokens - 1)
        target_ids = ops.convert_to_tensor(target_ids)
        action = check_action(action, self.conditioning, self.action_dim)
        parts = [
            None if part is None else ops.convert_to_tensor(part)
            for part in (context_latents, context_ids, extra_tokens, action)
        ]
        targets_shape = target_ids.shape[1:]
        if len(targets_shape) == 2:
            # Every block is a sequence of its own, with the same context.
            num_blocks, num_targets = targets_shape
            parts = [
                None if part is None else ops.repeat(part, num_blocks, axis=0)
                for part in parts
            ]
            target_ids = ops.reshape(target_ids, (-1, num_targets))
        grid_size = grid_size or self.grid_size
        prediction = self._predict_sequence(
            target_ids, *parts, grid_size, mask_index, training
        )
        return ops.reshape(prediction, (-1, *targets_shape, self.output_dim))

    def _predict_sequence(
        self,
        target_ids,
        context_latents,
        context_ids,
        extra_tokens,
        action,
        grid_size,
        mask_index,
        training,
    ):
        """Predict one sequence of targets for each row of the batch."""
        num_context, num_targets = context_latents.shape[1], target_ids.shape[1]
        context = self.input_projection(ops.cast(context_latents, self.compute_dtype))
        context = self.position_embedding(context, context_ids, grid_size=grid_size)
        mask_token = ops.reshape(self.mask_token, (-1, self.predictor_dim))[mask_index]
        targets = ops.broadcast_to(
            ops.cast(mask_token, self.compute_dtype),
            (ops.shape(target_ids)[0], num_targets, self.predictor_dim),
        )
        targets = self.position_embedding(targets, target_ids, grid_size=grid_size)
        if self.conditioning == "feature":
            targets = self.action_features(targets, action)
        tokens = [context, targets]
        if self.conditioning == "sequence":
            tokens.append(self.action_tokens(action))
        if extra_tokens is not None:
            tokens.append(ops.cast(extra_tokens, self.compute_dtype))
        tokens = ops.concatenate(tokens, axis=1)
        rotation = self.position_embedding.rotation(
            ops.concatenate([context_ids, target_ids], axis=1),
            grid_size,
            num_others=tokens.shape[1] - num_context - num_targets,
        )
        for block in self.blocks:
            tokens = block(tokens, rotation=rotation, training=training)
        tokens = tokens[:, num_context : num_context + num_targets]
        return self.output_projection(self.norm(tokens))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = (
            *("grid_size", "hidden_dim", "predictor_dim", "num_layers", "num_heads"),
            *("mlp_dim", "action_dim", "conditioning", "drop_path_rate", "remat"),
            *("initializer_stddev", "positions", "output_dim", "num_mask_tokens"),
        )
        return super().get_config() | {name: getattr(self, name) for name in names}
