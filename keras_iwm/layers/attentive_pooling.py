"""Pooling of patch latents by attention."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.backend import gelu
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class AttentivePooling(keras.layers.Layer):
    """Pool patch latents with one learned query and one cross-attention block.

    The query attends to the latents, each head with weights of its own, and passes
    through an MLP; both are residual, with norms before them. It is what the
    attentive probe and predictor finetuning put below their linear layer (image
    world models, arXiv 2403.00504, section 5): unlike an average, it can pick the
    patches that matter.

    Args:
        num_heads: Integer, number of attention heads; divides the number of features.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        return_attention: Boolean. If `True`, the weights of the attention are
            returned too.

    Returns:
        Tensor of shape `(batch_size, hidden_dim)`; with `return_attention` a pair of
        it and a float32 tensor of shape `(batch_size, num_heads, num_patches)` that
        sums to 1 over the patches.

    Raises:
        ValueError: If `num_heads` does not divide `hidden_dim`.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 64))
    pooled = keras_iwm.layers.AttentivePooling(num_heads=4)(latents)  # (2, 64)
    ```
    """

    def __init__(self, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = as_count("num_heads", num_heads)

    def build(self, latents_shape: Shape) -> None:
        """Create the query, the norms and the products."""
        hidden_dim = latents_shape[-1]
        if hidden_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the number of features. Received: "
                f"num_heads={self.num_heads} for {hidden_dim} features. Choose one "
                "of its divisors, 64 features a head is usual."
            )
        # With a variance like the keys', the heads look at different patches from the
        # start; a query near zero averages over all of them for many epochs.
        self.query = self.add_weight(
            shape=(hidden_dim,),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="query",
        )

        def dense(units, name, **kwargs):
            return TokenDense(units, dtype=self.dtype_policy, name=name, **kwargs)

        def norm(name):
            return TokenNorm(dtype=self.dtype_policy, name=name)

        tokens_shape = (None, None, hidden_dim)
        self.latents_norm = norm("latents_norm")
        # The softmax cancels a bias of the keys.
        self.key = dense(hidden_dim, "key", use_bias=False)
        self.value = dense(hidden_dim, "value")
        self.attention_output = dense(hidden_dim, "attention_output")
        self.mlp_norm = norm("mlp_norm")
        self.mlp_hidden = dense(4 * hidden_dim, "mlp_hidden")
        self.mlp_output = dense(hidden_dim, "mlp_output")
        for layer in (
            *(self.latents_norm, self.key, self.value, self.attention_output),
            *(self.mlp_norm, self.mlp_hidden),
        ):
            layer.build(tokens_shape)
        self.mlp_output.build((None, None, 4 * hidden_dim))

    def call(
        self, latents: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Pool the latents of each image."""
        num_patches, hidden_dim = latents.shape[1:]
        heads = (-1, num_patches, self.num_heads, hidden_dim // self.num_heads)
        latents = self.latents_norm(latents)
        key = ops.reshape(self.key(latents), heads)
        value = ops.reshape(self.value(latents), heads)
        query = ops.cast(self.query, key.dtype)
        # For one query, elementwise products need no transposes.
        similarity = ops.sum(key * ops.reshape(query, heads[2:]), axis=-1)
        similarity = ops.cast(similarity, "float32") * heads[-1] ** -0.5
        attention = ops.softmax(similarity, axis=1)
        pooled = ops.sum(value * ops.cast(attention, value.dtype)[..., None], axis=1)
        pooled = ops.reshape(pooled, (-1, 1, hidden_dim))
        tokens = query + self.attention_output(pooled)
        hidden = gelu(self.mlp_hidden(self.mlp_norm(tokens)))
        pooled = (tokens + self.mlp_output(hidden))[:, 0]
        if return_attention:
            return pooled, ops.transpose(attention, (0, 2, 1))
        return pooled

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}
