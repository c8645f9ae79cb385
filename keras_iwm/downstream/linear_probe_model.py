"""The linear classifier of features that `linear_probe` trains."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class LinearProbeModel(keras.Model):
    """Linear classifier of features that it standardises itself.

    `linear_probe` trains it and returns it; it is then used on features of the same
    encoder and blocks, or saved. It is a float32 model under any global policy.

    Args:
        feature_dim: Positive integer, number of features of an image.
        num_classes: Integer of at least 2.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        features: Tensor of shape `(batch_size, feature_dim)`.

    Returns:
        Tensor of shape `(batch_size, num_classes)`, the logits.

    Raises:
        ValueError: If a size is too small or features have another shape.

    Example:

    ```python
    probe = keras_iwm.downstream.LinearProbeModel(feature_dim=8, num_classes=3)
    logits = probe(keras.random.normal((4, 8)))  # (4, 3)
    ```
    """

    def __init__(self, feature_dim: int, num_classes: int, **kwargs: Any) -> None:
        # Whatever the global policy: half precision would save nothing here.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.feature_dim = as_count("feature_dim", feature_dim)
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.mean = self.add_weight(
            (self.feature_dim,), "zeros", trainable=False, name="mean"
        )
        self.deviation = self.add_weight(
            (self.feature_dim,), "ones", trainable=False, name="deviation"
        )
        self.kernel = self.add_weight(
            (self.feature_dim, self.num_classes), "zeros", name="kernel"
        )
        self.bias = self.add_weight((self.num_classes,), "zeros", name="bias")
        self.built = True

    def call(self, features: Tensor) -> Tensor:
        """Standardise the features and return logits."""
        if len(features.shape) != 2 or features.shape[1] != self.feature_dim:
            raise ValueError(
                f"`features` must have shape (batch_size, {self.feature_dim}), like "
                f"those the probe was trained on. Received: {tuple(features.shape)}."
            )
        features = (features - self.mean) / self.deviation
        return ops.matmul(features, self.kernel) + self.bias

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "feature_dim": self.feature_dim,
            "num_classes": self.num_classes,
        }
