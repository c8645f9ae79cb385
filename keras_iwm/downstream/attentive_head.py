"""The attentive classification head."""

import keras
from keras import ops

from keras_iwm.downstream.linear_head import classification_layer
from keras_iwm.layers.attentive_pooling import AttentivePooling


@keras.saving.register_keras_serializable(package="keras_iwm")
class AttentiveHead(keras.layers.Layer):
    """Classify images by attentive pooling of their latents and a linear layer.

    On the latents of a frozen encoder it is the attentive probe, on those of a
    predictor the head of predictor finetuning (image world models, arXiv
    2403.00504, section 5).

    Args:
        num_classes: Integer, number of classes.
        num_heads: Integer, heads of the attention; divides the latents' features.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, num_classes)`.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 64))
    head = keras_iwm.downstream.AttentiveHead(num_classes=10, num_heads=4)
    logits = head(latents)  # (2, 10)
    attention = head.attention(latents)  # (2, 4, 16)
    ```
    """

    def __init__(self, num_classes, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.num_heads = num_heads

    def build(self, latents_shape):
        """Create the pooling and the linear layer."""
        self.pooling = AttentivePooling(
            self.num_heads, dtype=self.dtype_policy, name="pooling"
        )
        self.pooling.build(latents_shape)
        self.logits = classification_layer(self.num_classes)
        self.logits.build((None, latents_shape[-1]))

    def call(self, latents):
        """Return the logits of each image."""
        return self.logits(self.pooling(latents))

    def attention(self, latents):
        """Return where the head looks: `(batch_size, num_heads, num_patches)`."""
        return self.pooling(ops.convert_to_tensor(latents), return_attention=True)[1]

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_heads": self.num_heads,
        }
