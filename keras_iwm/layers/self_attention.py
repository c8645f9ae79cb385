"""Multi-head self-attention."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.backend import attend, rotate
from keras_iwm.layers.kernel_initializer import as_stddev, kernel_initializer
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention with one product for query, key and value.

    Keys have no bias by default: the softmax cancels it, so the function is the same,
    and a parameter whose gradient is only rounding noise would drift under Adam. Where
    keys are rotated it is not cancelled.

    Args:
        num_heads: Integer, number of heads; divides the number of features.
        output_initializer: Initializer of the output kernel.
        initializer_stddev: Optional float, the deviation of a normal from
            which the joint kernel starts. Defaults to Glorot's uniform.
        use_key_bias: Boolean, whether keys have a bias.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        attention_mask: Optional boolean tensor of shape `(num_patches, num_patches)`,
            or `(batch_size, num_patches, num_patches)` for one of each sample: `True`
            where the token of the row may attend to that of the column. Every token
            needs one to attend to.
        rotation: Optional float tensor of shape `(batch_size or 1, num_patches, 2,
            head_dim)`, how queries and keys are turned, see `rotary_positions`.

    Returns:
        Tensor of the shape of `tokens`.

    Raises:
        ValueError: If `num_heads` does not divide `hidden_dim`.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 64))
    outputs = keras_iwm.layers.SelfAttention(4)(tokens)
    ```
    """

    def __init__(
        self,
        num_heads: int,
        output_initializer: str | keras.initializers.Initializer = "glorot_uniform",
        initializer_stddev: float | None = None,
        use_key_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_key_bias = as_boolean("use_key_bias", use_key_bias)
        self.initializer_stddev = as_stddev(initializer_stddev)
        self.num_heads = as_count("num_heads", num_heads)
        self.output_initializer = keras.initializers.get(output_initializer)

    def build(self, tokens_shape: Shape) -> None:
        """Create the two products and the biases between them."""
        hidden_dim = tokens_shape[-1]
        if hidden_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the number of features. Received: "
                f"num_heads={self.num_heads} for {hidden_dim} features. Choose one "
                "of its divisors, 64 features a head is usual."
            )
        # Twice the variance over the joint kernel is Glorot's for each of its three.
        joint = 2.0 if self.initializer_stddev is None else 1.0
        self.query_key_value = TokenDense(
            3 * hidden_dim,
            use_bias=False,
            kernel_initializer=kernel_initializer(self.initializer_stddev, joint),
            dtype=self.dtype_policy,
            name="query_key_value",
        )
        self.query_key_value.build(tokens_shape)
        self.query_bias = self.add_weight(
            shape=(hidden_dim,), initializer="zeros", name="query_bias"
        )
        self.key_bias = None
        if self.use_key_bias:
            self.key_bias = self.add_weight(
                shape=(hidden_dim,), initializer="zeros", name="key_bias"
            )
        self.value_bias = self.add_weight(
            shape=(hidden_dim,), initializer="zeros", name="value_bias"
        )
        self.output_projection = TokenDense(
            hidden_dim,
            kernel_initializer=self.output_initializer,
            dtype=self.dtype_policy,
            name="output_projection",
        )
        self.output_projection.build(tokens_shape)

    def call(
        self,
        tokens: Tensor,
        attention_mask: Tensor | None = None,
        rotation: Tensor | None = None,
    ) -> Tensor:
        """Let every token attend to all tokens, or to those that the mask allows."""
        query, key, value = self._heads(tokens)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        mixed = attend(query, key, value, attention_mask)
        return self.output_projection(ops.reshape(mixed, (-1, *tokens.shape[1:])))

    def extend(self, token: Tensor, cache: Any, index: Tensor) -> tuple[Tensor, Any]:
        """Let one token more attend to those before it, whose keys are cached.

        Args:
            token: Tensor of shape `(batch_size, 1, hidden_dim)`.
            cache: Pair of tensors of shape `(batch_size, length, num_heads,
                head_dim)`, the keys and values of the tokens before.
            index: Integer scalar tensor, how many these are: the token's place.

        Returns:
            The output, of the shape of `token`, and the cache with the token in it.
        """
        query, *new = self._heads(token)
        places = ops.arange(cache[0].shape[1])
        is_here = ops.reshape(places == index, (1, -1, 1, 1))
        cache = tuple(
            ops.where(is_here, part, kept)
            for part, kept in zip(new, cache, strict=True)
        )
        mixed = attend(query, *cache, mask=(places <= index)[None])
        mixed = ops.reshape(mixed, (-1, *token.shape[1:]))
        return self.output_projection(mixed), cache

    def follow(
        self, tokens: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Let tokens attend to each other and to all those that came before them.

        Args:
            tokens: Tensor of shape `(batch_size, num_tokens, hidden_dim)`.
            past: Optional pair of tensors, the keys and values of the tokens before,
                as they were returned with those; `None` at the beginning.

        Returns:
            The output, of the shape of `tokens`, and the keys and values of all
            tokens so far, of shape `(batch_size, length, num_heads, head_dim)`.
        """
        query, *new = self._heads(tokens)
        if past is not None:
            new = [
                ops.concatenate(pair, axis=1) for pair in zip(past, new, strict=True)
            ]
        mixed = ops.reshape(attend(query, *new), (-1, *tokens.shape[1:]))
        return self.output_projection(mixed), tuple(new)

    def _heads(self, tokens):
        """Query, key and value of tokens, each (batch, tokens, heads, head_dim)."""
        num_tokens, hidden_dim = tokens.shape[1:]
        query, key, value = ops.split(self.query_key_value(tokens), 3, axis=-1)
        query = query + ops.cast(self.query_bias, query.dtype)
        if self.key_bias is not None:
            key = key + ops.cast(self.key_bias, key.dtype)
        value = value + ops.cast(self.value_bias, value.dtype)
        heads = (-1, num_tokens, self.num_heads, hidden_dim // self.num_heads)
        return [ops.reshape(part, heads) for part in (query, key, value)]

    def is_plain(self, policy: Any) -> bool:
        """Whether it computes by `policy` what its weights say and no more."""
        return (
            type(self) is SelfAttention
            and self.query_key_value.is_plain(policy)
            and self.output_projection.is_plain(policy)
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "initializer_stddev": self.initializer_stddev,
            "output_initializer": keras.initializers.serialize(self.output_initializer),
            "use_key_bias": self.use_key_bias,
        }
