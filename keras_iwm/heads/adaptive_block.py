"""A residual block whose norm follows a condition."""

import keras
from keras import ops

from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.layers.token_norm import TokenNorm


class AdaptiveBlock(keras.layers.Layer):
    """Two dense layers behind a norm that a condition shifts, scales and gates.

    Shift, scale and gate start at zero, so the block starts as the identity.

    Args:
        hidden_dim: Integer, features of tokens and conditions.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(..., hidden_dim)`.
        conditions: Tensor of the same shape.

    Returns:
        Tensor of the same shape.
    """

    def __init__(self, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.modulation = TokenDense(
            3 * hidden_dim, kernel_initializer="zeros", dtype=policy, name="modulation"
        )
        self.norm = TokenNorm(dtype=policy, name="norm")
        self.hidden_layer = TokenDense(
            hidden_dim, activation="silu", dtype=policy, name="hidden"
        )
        self.output_layer = TokenDense(hidden_dim, dtype=policy, name="output")

    def build(self, tokens_shape, conditions_shape):
        """Create the weights."""
        self.modulation.build(conditions_shape)
        for layer in (self.norm, self.hidden_layer, self.output_layer):
            layer.build(tokens_shape)

    def call(self, tokens, conditions):
        """Apply the block to every token."""
        shift, scale, gate = ops.split(self.modulation(conditions), 3, axis=-1)
        branch = self.norm(tokens) * (1 + scale) + shift
        return tokens + gate * self.output_layer(self.hidden_layer(branch))
