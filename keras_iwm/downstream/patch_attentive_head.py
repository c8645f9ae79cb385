"""The attentive segmentation head."""

import keras
from keras import ops

from keras_iwm.downstream.linear_head import classification_layer
from keras_iwm.downstream.patch_linear_head import classify_patches
from keras_iwm.layers.transformer_block import TransformerBlock


@keras.saving.register_keras_serializable(package="keras_iwm")
class PatchAttentiveHead(keras.layers.Layer):
    """Classify every patch after all patches have attended to each other.

    One transformer block, then what `PatchLinearHead` does.

    Args:
        num_classes: Integer, number of classes.
        num_heads: Integer, heads of the attention; divides the latents' features.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, rows, columns, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, rows, columns, num_classes)`.

    Example:

    ```python
    latents = keras.random.normal((2, 4, 6, 64))
    head = keras_iwm.downstream.PatchAttentiveHead(num_classes=10, num_heads=4)
    logits = head(latents)  # (2, 4, 6, 10)
    ```
    """

    def __init__(self, num_classes, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.num_heads = num_heads

    def build(self, latents_shape):
        """Create the block and the linear layer."""
        hidden_dim = latents_shape[-1]
        self.block = TransformerBlock(
            self.num_heads, 4 * hidden_dim, dtype=self.dtype_policy, name="block"
        )
        self.block.build((None, None, hidden_dim))
        self.logits = classification_layer(self.num_classes)
        self.logits.build((None, hidden_dim))

    def call(self, latents):
        """Return the logits of each patch."""
        rows, columns, hidden_dim = latents.shape[1:]
        tokens = ops.reshape(latents, (-1, rows * columns, hidden_dim))
        latents = ops.reshape(self.block(tokens), (-1, rows, columns, hidden_dim))
        return classify_patches(self.logits, latents)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_heads": self.num_heads,
        }
