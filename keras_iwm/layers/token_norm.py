"""Layer normalisation of tokens."""

import keras

from keras_iwm.backend import layer_norm


@keras.saving.register_keras_serializable(package="keras_iwm")
class TokenNorm(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` of tokens, with a gradient in closed form.

    The result is the same. On JAX it costs less, see `docs/performance.md`.

    Args:
        epsilon: Float, added to the variance.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, num_patches, features)`.

    Returns:
        Tensor of the same shape in the compute dtype.

    Example:

    ```python
    tokens = keras.random.normal((2, 16, 32))
    outputs = keras_iwm.layers.TokenNorm()(tokens)
    ```
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, tokens):
        """Normalise every token."""
        return layer_norm(tokens, self.gamma, self.beta, self.epsilon)
