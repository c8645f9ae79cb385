"""The pre-norm transformer block."""

import functools
from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import (
    as_boolean,
    as_count,
    as_number,
    as_optional,
    as_positive,
)
from keras_iwm.backend import fused_branches, gelu, needs_no_call
from keras_iwm.layers.kernel_initializer import as_stddev, kernel_initializer
from keras_iwm.layers.self_attention import SelfAttention
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class TransformerBlock(keras.layers.Layer):
    """Pre-norm transformer block: self-attention, then a two-layer MLP.

    Encoder and predictor of an image world model are stacks of it. The kernels
    that write to the residual stream start `sqrt(2 * block_index)` times smaller,
    so that the stream's variance does not grow with depth (I-JEPA, arXiv
    2301.08243).

    Args:
        num_heads: Integer, number of attention heads.
        mlp_dim: Integer, width of the MLP.
        block_index: Integer from 1, the block's place in its stack.
        drop_path_rate: Float in [0, 1), probability with which each of the two
            residual branches is left out for an image during training.
        remat: Boolean. If `True`, activations are computed again in the backward
            pass instead of being kept.
        initializer_stddev: Optional float, the deviation of a normal from
            which kernels start, 0.02 in I-JEPA. Defaults to Glorot's uniform.
        epsilon: Float, added to the variance by both norms.
        layer_scale: Optional positive float. If given, the two residual branches are
            multiplied by learned factors, one for each feature, that start from it.
        gated_mlp: Boolean. If `True`, the MLP has two products of width `mlp_dim`
            behind each other's features, of which the first gates the second through
            SiLU (SwiGLU), in place of one with GELU.
        use_key_bias: Boolean, see `SelfAttention`.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        attention_mask: Optional boolean tensor, which tokens may attend to which, see
            `SelfAttention`.
        rotation: Optional float tensor, how queries and keys are turned, see there.
        training: Boolean, whether to drop paths.

    Returns:
        Tensor of the shape of `tokens`.

    Raises:
        ValueError: If an argument is not a number of its range, or `num_heads` does
            not divide `hidden_dim`.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 64))
    block = keras_iwm.layers.TransformerBlock(num_heads=4, mlp_dim=256)
    outputs = block(tokens)
    ```
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        block_index: int = 1,
        drop_path_rate: float = 0.0,
        remat: bool = False,
        initializer_stddev: float | None = None,
        epsilon: float = 1e-6,
        layer_scale: float | None = None,
        gated_mlp: bool = False,
        use_key_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = as_count("num_heads", num_heads)
        self.mlp_dim = as_count("mlp_dim", mlp_dim)
        self.block_index = as_count("block_index", block_index)
        self.drop_path_rate = as_number(
            "drop_path_rate", drop_path_rate, 0.0, 1.0, below=True
        )
        self.remat = as_boolean("remat", remat)
        self.initializer_stddev = as_stddev(initializer_stddev)
        self.epsilon = as_number("epsilon", epsilon, 0.0, 1.0)
        self.layer_scale = as_optional(as_positive, "layer_scale", layer_scale)
        self.gated_mlp = as_boolean("gated_mlp", gated_mlp)
        self.use_key_bias = as_boolean("use_key_bias", use_key_bias)

    def build(self, tokens_shape: Shape) -> None:
        """Create norms, attention and MLP."""
        hidden_dim = tokens_shape[-1]
        policy = self.dtype_policy
        residual_initializer = kernel_initializer(
            self.initializer_stddev, 1 / (2 * self.block_index)
        )
        self.attention_norm = TokenNorm(
            self.epsilon, dtype=policy, name="attention_norm"
        )
        self.attention = SelfAttention(
            self.num_heads,
            residual_initializer,
            self.initializer_stddev,
            self.use_key_bias,
            dtype=policy,
            name="attention",
        )
        self.mlp_norm = TokenNorm(self.epsilon, dtype=policy, name="mlp_norm")
        self.mlp_hidden = TokenDense(
            (1 + self.gated_mlp) * self.mlp_dim,
            kernel_initializer=kernel_initializer(self.initializer_stddev),
            dtype=policy,
            name="mlp_hidden",
        )
        self.mlp_output = TokenDense(
            hidden_dim,
            kernel_initializer=residual_initializer,
            dtype=policy,
            name="mlp_output",
        )
        for layer in (self.attention_norm, self.attention, self.mlp_norm):
            layer.build(tokens_shape)
        self.mlp_hidden.build(tokens_shape)
        self.mlp_output.build((*tokens_shape[:-1], self.mlp_dim))
        if self.layer_scale is not None:
            self.attention_scale, self.mlp_scale = (
                self.add_weight(
                    shape=(hidden_dim,),
                    initializer=keras.initializers.Constant(self.layer_scale),
                    name=name,
                )
                for name in ("attention_scale", "mlp_scale")
            )
        if self.drop_path_rate:
            # With a noise shape Keras draws from the layer's own generator on Torch
            # too, and not from a global state that no checkpoint holds.
            self.drop_path = keras.layers.Dropout(
                self.drop_path_rate,
                noise_shape=(None, 2),
                dtype=policy,
                name="drop_path",
            )
            self.drop_path.build((None, 2))

    def __call__(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Be called, without Keras's work around a call where it would do nothing."""
        plain = type(self) is TransformerBlock and not args
        if plain and needs_no_call(self, tokens, kwargs.get("training")):
            return self.call(tokens, **kwargs)
        return super().__call__(tokens, *args, **kwargs)

    def call(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None = None,
        rotation: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Transform the tokens."""
        inputs = [tokens]
        if self.drop_path_rate and training:
            # Dropout of ones is the scaled mask of stochastic depth. It is drawn
            # outside of what `keras.remat` runs twice, so that both runs agree.
            ones = ops.ones((ops.shape(tokens)[0], 2), dtype=self.compute_dtype)
            inputs.append(self.drop_path(ones, training=True)[:, :, None, None])
        branches = self._branches
        if fused_branches is not None and self._is_plain():
            branches = fused_branches(self)
        # `keras.remat` takes tensors only on TensorFlow: no `None` for absent paths,
        # and none without a gradient, such as a mask or a rotation.
        branches = functools.partial(branches, attention_mask, rotation)
        return (keras.remat(branches) if self.remat else branches)(*inputs)

    def extend(self, token: Tensor, cache: Any, index: Tensor) -> tuple[Tensor, Any]:
        """Transform one token more, which attends to those before it.

        Args:
            token: Tensor of shape `(batch_size, 1, hidden_dim)`.
            cache: Pair of tensors, keys and values, see `SelfAttention.extend`.
            index: Integer scalar tensor, the token's place.

        Returns:
            The output, of the shape of `token`, and the cache with the token in it.
        """
        normal = self.attention_norm(token)
        attended, cache = self.attention.extend(normal, cache, index)
        return self._add_branches(token, attended), cache

    def follow(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """Transform tokens that attend to each other and to those before them.

        Args:
            tokens: Tensor of shape `(batch_size, num_tokens, hidden_dim)`.
            past: Optional pair of tensors, keys and values, see `SelfAttention.follow`.

        Returns:
            The outputs, of the shape of `tokens`, and keys and values of all so far.
        """
        attended, past = self.attention.follow(self.attention_norm(tokens), past)
        return self._add_branches(tokens, attended), past

    def _branches(self, attention_mask, rotation, tokens, paths=None):
        """Add the two residual branches, scaled by `paths` (batch, 2, 1, 1)."""
        normal = self.attention_norm(tokens)
        attended = self.attention(normal, attention_mask, rotation)
        return self._add_branches(tokens, attended, paths)

    def _add_branches(self, tokens, attended, paths=None):
        """Add what was attended to, then what the MLP makes of the sum."""
        if self.layer_scale is not None:
            attended = attended * ops.cast(self.attention_scale, attended.dtype)
        if paths is not None:
            attended = attended * paths[:, 0]
        tokens = tokens + attended
        hidden = self.mlp_hidden(self.mlp_norm(tokens))
        if self.gated_mlp:
            gate, hidden = ops.split(hidden, 2, axis=-1)
            hidden = ops.silu(gate) * hidden
        else:
            hidden = gelu(hidden)
        expanded = self.mlp_output(hidden)
        if self.layer_scale is not None:
            expanded = expanded * ops.cast(self.mlp_scale, expanded.dtype)
        if paths is not None:
            expanded = expanded * paths[:, 1]
        return tokens + expanded

    def _is_plain(self):
        """Whether it is two branches, of layers that do what their weights say."""
        policy = self.dtype_policy
        return (
            self.layer_scale is None
            and not self.gated_mlp
            # A policy by path says nothing by itself.
            and not isinstance(policy, keras.dtype_policies.DTypePolicyMap)
            and self.mlp_hidden.is_plain(policy)
            and self.mlp_output.is_plain(policy)
            and self.attention.is_plain(policy)
            and self.attention_norm.is_plain(policy)
            and self.mlp_norm.is_plain(policy)
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "block_index": self.block_index,
            "drop_path_rate": self.drop_path_rate,
            "remat": self.remat,
            "initializer_stddev": self.initializer_stddev,
            "epsilon": self.epsilon,
            "layer_scale": self.layer_scale,
            "gated_mlp": self.gated_mlp,
            "use_key_bias": self.use_key_bias,
        }


def transformer_blocks(num_layers, drop_path_rate=0.0, **arguments):
    """Make a stack of blocks whose drop path rises linearly from 0.

    Args:
        num_layers: Integer, number of blocks.
        drop_path_rate: Float in [0, 1), the last block's rate.
        **arguments: Passed to every `TransformerBlock`.

    Returns:
        List of `TransformerBlock`, named `block_00`, `block_01`, ...
    """
    return [
        TransformerBlock(
            block_index=index + 1,
            drop_path_rate=drop_path_rate * index / max(1, num_layers - 1),
            name=f"block_{index:02d}",
            **arguments,
        )
        for index in range(num_layers)
    ]
