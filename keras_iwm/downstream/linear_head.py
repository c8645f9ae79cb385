"""The linear head."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class LinearHead(keras.layers.Layer):
    """Classify images, or every patch of them, by one linear layer.

    An image is the average of its latents. What goes into the linear layer is
    normalised over its features, without scale or shift, so that one learning rate
    fits encoders of any output scale.

    Args:
        num_classes: Integer of at least 2, number of classes.
        per_patch: Boolean, whether to classify every patch instead of the image.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`; per patch a
            grid of them, `(batch_size, rows, columns, hidden_dim)`.

    Returns:
        Float32 tensor of logits, `(batch_size, num_classes)`, or
        `(batch_size, rows, columns, num_classes)`.

    Raises:
        ValueError: If an argument, or the latents' rank, does not fit.

    Example:

    ```python
    latents = keras.random.normal((2, 16, 64))
    logits = keras_iwm.downstream.LinearHead(num_classes=10)(latents)  # (2, 10)
    head = keras_iwm.downstream.LinearHead(num_classes=10, per_patch=True)
    logits = head(keras.ops.reshape(latents, (2, 4, 4, 64)))  # (2, 4, 4, 10)
    ```
    """

    def __init__(
        self, num_classes: int, per_patch: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.per_patch = as_boolean("per_patch", per_patch)

    def build(self, latents_shape: Shape) -> None:
        """Create the linear layer."""
        check_latents(latents_shape, self.per_patch)
        self.logits = classification_layer(self.num_classes)
        self.logits.build((None, latents_shape[-1]))

    def call(self, latents: Tensor) -> Tensor:
        """Return the logits of each image, or of each patch."""
        check_latents(latents.shape, self.per_patch)
        if self.per_patch:
            return classify_patches(self.logits, latents)
        return self.logits(normalize_latents(ops.mean(latents, axis=1)))

    def compute_output_spec(self, latents: Tensor) -> Tensor:
        """Return the logits as a symbolic tensor."""
        return logits_spec(self, latents)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "per_patch": self.per_patch,
        }


def classification_layer(num_classes):
    """Make the last layer of a head: float32, and near zero at the start."""
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.01),
        dtype="float32",
        name="logits",
    )


def classify_patches(layer, latents):
    """Return the logits of each patch, `layer` being made for rank 2.

    On XLA's CPU compiler the gradient of a product is several times faster there.
    """
    rows, columns, hidden_dim = latents.shape[1:]
    flat = ops.reshape(normalize_latents(latents), (-1, hidden_dim))
    return ops.reshape(layer(flat), (-1, rows, columns, layer.units))


def logits_spec(head, latents):
    """Return a head's logits of symbolic latents."""
    check_latents(latents.shape, head.per_patch)
    places = latents.shape[:-1] if head.per_patch else latents.shape[:1]
    return keras.KerasTensor((*places, head.num_classes), dtype="float32")


def check_latents(latents_shape, per_patch):
    """Refuse latents that are no sequence, or per patch no grid.

    Args:
        latents_shape: Shape of the latents.
        per_patch: Boolean, whether a grid is needed.

    Raises:
        ValueError: If the rank is another.
    """
    shape = "rows, columns" if per_patch else "num_patches"
    if len(latents_shape) != (4 if per_patch else 3):
        raise ValueError(
            f"`latents` must have shape (batch_size, {shape}, hidden_dim) for a head "
            f"with per_patch={per_patch}. Received shape: {tuple(latents_shape)}."
        )
