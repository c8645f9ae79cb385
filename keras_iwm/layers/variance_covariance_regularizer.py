"""Two terms against collapse: variance and covariance."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_number
from keras_iwm.layers.centre_latents import centre_latents
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class VarianceCovarianceRegularizer(keras.layers.Layer):
    """Loss of latents whose features do not vary, or vary together.

    The two terms of VICReg (arXiv 2105.04906, section 4.1) that keep features from
    collapse without a target encoder. The variance term is the mean over the features
    of what is missing to a standard deviation of 1; the covariance term the sum of the
    squared covariances of different features, over their number.

    Statistics are of what images differ by: each patch's latents without their mean
    over the batch, of all patches together. On several devices they are of the images
    of all of them.

    Args:
        variance_weight: Float of at least 0. 1 is as much as the paper gives it beside
            a mean squared difference.
        covariance_weight: Float of at least 0, in the paper 1/25 of the variance's.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        training: Boolean, of no effect.

    Returns:
        Float32 scalar.

    Example:

    ```python
    regularizer = keras_iwm.layers.VarianceCovarianceRegularizer()
    loss = regularizer(keras.random.normal((8, 16, 64)))
    ```
    """

    def __init__(
        self,
        variance_weight: float = 1.0,
        covariance_weight: float = 0.04,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        top = float("inf")
        self.variance_weight = as_number("variance_weight", variance_weight, 0.0, top)
        self.covariance_weight = as_number(
            "covariance_weight", covariance_weight, 0.0, top
        )
        self.built = True

    def call(self, latents: Tensor, training: bool | None = None) -> Tensor:
        """Weigh and add the two terms."""
        centred = centre_latents(latents)
        batch_size, num_patches, hidden_dim = ops.shape(centred)
        count = ops.maximum(num_patches * (batch_size - 1), 1)
        centred = ops.reshape(centred, (-1, hidden_dim))
        covariance = ops.matmul(ops.transpose(centred), centred)
        covariance = covariance / ops.cast(count, "float32")
        variance = ops.diagonal(covariance)
        missing = ops.relu(1.0 - ops.sqrt(variance + 1e-4))
        together = ops.sum(ops.square(covariance)) - ops.sum(ops.square(variance))
        return (
            self.variance_weight * ops.mean(missing)
            + self.covariance_weight * together / hidden_dim
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "variance_weight": self.variance_weight,
            "covariance_weight": self.covariance_weight,
        }
