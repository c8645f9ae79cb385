"""The attentive head."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.downstream.linear_head import (
    check_latents,
    classification_layer,
    classify_patches,
    logits_spec,
)
from keras_iwm.layers.attentive_pooling import AttentivePooling
from keras_iwm.layers.transformer_block import TransformerBlock
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class AttentiveHead(keras.layers.Layer):
    """Classify images, or every patch of them, by attention and a linear layer.

    Images are classified by attentive pooling of their latents: on those of a frozen
    encoder it is the attentive probe, on those of a predictor the head of predictor
    finetuning (image world models, arXiv 2403.00504, section 5). Patches are
    classified after all have attended to each other in one transformer block.

    Args:
        num_classes: Integer of at least 2, number of classes.
        num_heads: Integer, heads of the attention; divides the latents' features.
        per_patch: Boolean, whether to classify every patch instead of the image.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`; per patch a
            grid of them, `(batch_size, rows, columns, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, num_classes)`, or
        `(batch_size, rows, columns, num_classes)`.

    Raises:
        ValueError: If an argument, or the latents' shape, does not fit.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 64))
    head = keras_iwm.downstream.AttentiveHead(num_classes=10, num_heads=4)
    logits = head(latents)  # (2, 10)
    attention = head.attention(latents)  # (2, 4, 16)
    ```
    """

    def __init__(
        self, num_classes: int, num_heads: int, per_patch: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.num_heads = as_count("num_heads", num_heads)
        self.per_patch = as_boolean("per_patch", per_patch)

    def build(self, latents_shape: Shape) -> None:
        """Create pooling or block, and the linear layer."""
        check_latents(latents_shape, self.per_patch)
        hidden_dim = latents_shape[-1]
        policy = self.dtype_policy
        if self.per_patch:
            self.block = TransformerBlock(
                self.num_heads, 4 * hidden_dim, dtype=policy, name="block"
            )
            self.block.build((None, None, hidden_dim))
        else:
            self.pooling = AttentivePooling(
                self.num_heads, dtype=policy, name="pooling"
            )
            self.pooling.build(latents_shape)
        self.logits = classification_layer(self.num_classes)
        self.logits.build((None, hidden_dim))

    def call(self, latents: Tensor) -> Tensor:
        """Return the logits of each image, or of each patch."""
        check_latents(latents.shape, self.per_patch)
        if not self.per_patch:
            return self.logits(self.pooling(latents))
        rows, columns, hidden_dim = latents.shape[1:]
        tokens = ops.reshape(latents, (-1, rows * columns, hidden_dim))
        latents = ops.reshape(self.block(tokens), (-1, rows, columns, hidden_dim))
        return classify_patches(self.logits, latents)

    def compute_output_spec(self, latents: Tensor) -> Tensor:
        """Return the logits as a symbolic tensor."""
        return logits_spec(self, latents)

    def attention(self, latents: Tensor) -> Tensor:
        """Return where the head looks: `(batch_size, num_heads, num_patches)`.

        Raises:
            ValueError: If the head classifies patches, which have no common place.
        """
        if self.per_patch:
            raise ValueError(
                "`attention` is of a head that pools the patches of an image. Received "
                "one with per_patch=True."
            )
        return self.pooling(ops.convert_to_tensor(latents), return_attention=True)[1]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_heads": self.num_heads,
            "per_patch": self.per_patch,
        }
