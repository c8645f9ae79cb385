"""The linear classification head."""

import keras
from keras import ops

from keras_iwm.layers.normalize_latents import normalize_latents


@keras.saving.register_keras_serializable(package="keras_iwm")
class LinearHead(keras.layers.Layer):
    """Classify images by one linear layer on their average-pooled latents.

    The average is normalised over its features, without scale or shift, so that one
    learning rate fits encoders of any output scale.

    Args:
        num_classes: Integer, number of classes.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, num_classes)`.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 64))
    logits = keras_iwm.downstream.LinearHead(num_classes=10)(latents)  # (2, 10)
    ```
    """

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, latents_shape):
        """Create the linear layer."""
        self.logits = classification_layer(self.num_classes)
        self.logits.build((None, latents_shape[-1]))

    def call(self, latents):
        """Return the logits of each image."""
        return self.logits(normalize_latents(ops.mean(latents, axis=1)))

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}


def classification_layer(num_classes):
    """Make the last layer of a head: float32, and near zero at the start."""
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01),
        dtype="float32",
        name="logits",
    )
