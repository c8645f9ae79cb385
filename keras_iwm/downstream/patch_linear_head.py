"""The linear segmentation head."""

import keras
from keras import ops

from keras_iwm.downstream.linear_head import classification_layer
from keras_iwm.layers.normalize_latents import normalize_latents


@keras.saving.register_keras_serializable(package="keras_iwm")
class PatchLinearHead(keras.layers.Layer):
    """Classify every patch by one linear layer on its latent.

    Each latent is normalised over its features, without scale or shift, so that one
    learning rate fits encoders of any output scale.

    Args:
        num_classes: Integer, number of classes.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, rows, columns, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, rows, columns, num_classes)`.

    Example:

    ```python
    latents = keras.random.normal((2, 4, 6, 64))
    head = keras_iwm.downstream.PatchLinearHead(num_classes=10)
    logits = head(latents)  # (2, 4, 6, 10)
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
        """Return the logits of each patch."""
        return classify_patches(self.logits, latents)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}


def classify_patches(layer, latents):
    """Return the logits of each patch, `layer` being made for rank 2.

    On XLA's CPU compiler the gradient of a product is several times faster there.
    """
    rows, columns, hidden_dim = latents.shape[1:]
    flat = ops.reshape(normalize_latents(latents), (-1, hidden_dim))
    return ops.reshape(layer(flat), (-1, rows, columns, layer.units))
