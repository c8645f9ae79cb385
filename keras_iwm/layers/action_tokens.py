"""Actions as tokens of their own."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ActionTokens(keras.layers.Layer):
    """Turn an action into one token per slot: the `sequence` conditioning.

    Each slot has its own linear map and bias, so that the tokens can be told
    apart (image world models, arXiv 2403.00504, section 3).

    Args:
        hidden_dim: Integer, features of a token.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        action: Tensor of shape `(batch_size, action_dim)`.

    Returns:
        Tensor of shape `(batch_size, action_dim, hidden_dim)`.

    Example:

    ```python
    action = keras.random.uniform((2, 7), -1, 1)
    tokens = keras_iwm.layers.ActionTokens(64)(action)  # (2, 7, 64)
    ```
    """

    def __init__(self, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)

    def build(self, action_shape: Shape) -> None:
        """Create one kernel and one bias for each slot."""
        shape = (action_shape[-1], self.hidden_dim)
        # Unit variance keeps the tokens on the scale of the positions beside them.
        self.kernel = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="bias",
        )

    def call(self, action: Tensor) -> Tensor:
        """Map each slot to its token."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        bias = ops.cast(self.bias, self.compute_dtype)
        return ops.cast(action, self.compute_dtype)[..., None] * kernel + bias

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
