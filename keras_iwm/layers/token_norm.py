"""Layer normalisation of tokens."""

from typing import Any

import keras

from keras_iwm.arguments import as_number
from keras_iwm.backend import layer_norm
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class TokenNorm(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` of tokens, with a gradient in closed form.

    The result is the same. On JAX it costs less, see `docs/performance.md`.

    Args:
        epsilon: Float, added to the variance.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, ..., features)`, with any number of axes
            between.

    Returns:
        Tensor of the same shape in the compute dtype.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 32))
    outputs = keras_iwm.layers.TokenNorm()(tokens)
    ```
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        epsilon = as_number("epsilon", epsilon, 0.0, 1.0)
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, tokens: Tensor) -> Tensor:
        """Normalise every token."""
        if not self._is_usual():
            return super().call(tokens)
        return layer_norm(tokens, self.gamma, self.beta, self.epsilon)

    def _is_usual(self):
        """Whether none of `keras.layers.LayerNormalization`'s variants is asked for."""
        weighted = self.gamma is not None and self.beta is not None
        return weighted and self.axis == [-1]

    def is_plain(self, policy: Any) -> bool:
        """Whether it computes by `policy` what its weights say and no more."""
        return (
            type(self) is TokenNorm
            and self._is_usual()
            and self.dtype_policy is policy
            and self.activity_regularizer is None
        )
