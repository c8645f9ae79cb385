"""Actions joined to tokens along their features."""

import keras
from keras import ops

from keras_iwm.layers.token_dense import TokenDense


@keras.saving.register_keras_serializable(package="keras_iwm")
class ActionFeatures(keras.layers.Layer):
    """Join an action to each token by a small MLP: the `feature` conditioning.

    The action stands beside the token's features, and three layers with ReLU in
    between map both back to a token (image world models, arXiv 2403.00504,
    section 3). The initialisation preserves the variance: with a ViT's small
    normal one, three layers would shrink position and action to almost nothing.

    Args:
        hidden_dim: Integer, features of a token.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        action: Tensor of shape `(batch_size, action_dim)`.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 64))
    action = keras.random.uniform((2, 7), -1, 1)
    outputs = keras_iwm.layers.ActionFeatures(64)(tokens, action)
    ```
    """

    def __init__(self, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.hidden_layers = [
            TokenDense(
                hidden_dim,
                activation="relu",
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"hidden_{index}",
            )
            for index in range(2)
        ]
        self.output_layer = TokenDense(
            hidden_dim,
            kernel_initializer="lecun_normal",
            dtype=self.dtype_policy,
            name="output",
        )

    def build(self, tokens_shape, action_shape):
        """Create the three layers."""
        self.hidden_layers[0].build((None, None, tokens_shape[-1] + action_shape[-1]))
        self.hidden_layers[1].build((None, None, self.hidden_dim))
        self.output_layer.build((None, None, self.hidden_dim))

    def call(self, tokens, action):
        """Condition every token on the action."""
        num_tokens, action_dim = tokens.shape[1], action.shape[-1]
        action = ops.broadcast_to(
            ops.cast(action, tokens.dtype)[:, None],
            (ops.shape(tokens)[0], num_tokens, action_dim),
        )
        tokens = ops.concatenate([tokens, action], axis=-1)
        for layer in self.hidden_layers:
            tokens = layer(tokens)
        return self.output_layer(tokens)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
