"""Actions joined to tokens along their features."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ActionFeatures(keras.layers.Layer):
    """Join an action to each token by a small MLP: the `feature` conditioning.

    The action stands beside the token's features, and three layers with ReLU in
    between map both back to a token (image world models, arXiv 2403.00504,
    section 3). The first layer is written as the sum of a map of the token and a map
    of the action, which is the same function. Each starts with a variance of its own
    number of inputs: in a joint one, the few slots of an action would hardly be heard
    beside the token's features, and learning to use them would take far longer.

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

    def __init__(self, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        policy = self.dtype_policy
        self.token_layer = TokenDense(
            hidden_dim, kernel_initializer="he_normal", dtype=policy, name="token"
        )
        self.action_layer = keras.layers.Dense(
            hidden_dim,
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=policy,
            name="action",
        )
        self.hidden_layer = TokenDense(
            hidden_dim,
            activation="relu",
            kernel_initializer="he_normal",
            dtype=policy,
            name="hidden",
        )
        self.output_layer = TokenDense(
            hidden_dim, kernel_initializer="lecun_normal", dtype=policy, name="output"
        )

    def build(self, tokens_shape: Shape, action_shape: Shape) -> None:
        """Create the layers."""
        self.token_layer.build(tokens_shape)
        self.action_layer.build(action_shape)
        self.hidden_layer.build((None, None, self.hidden_dim))
        self.output_layer.build((None, None, self.hidden_dim))

    def call(self, tokens: Tensor, action: Tensor) -> Tensor:
        """Condition every token on the action."""
        from_action = self.action_layer(ops.cast(action, self.compute_dtype))
        tokens = ops.relu(self.token_layer(tokens) + from_action[:, None])
        return self.output_layer(self.hidden_layer(tokens))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
