"""What the downstream models share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.downstream.world_model_backbone import WorldModelBackbone
from keras_iwm.models.trained_model import TrainedModel
from keras_iwm.type_aliases import ValueRange


class DownstreamModel(TrainedModel):
    """A model on a `WorldModelBackbone`, with early checks of images and labels.

    Subclasses have `backbone` and `check_labels(labels, name)`, which takes NumPy
    arrays and raises a `ValueError`. Labels in arrays are all looked at, those of a
    dataset in its first batch; the step, once compiled, cannot raise.
    """

    @property
    def num_channels(self) -> int:
        """Channels of the images."""
        return self.backbone.encoder.num_channels

    @property
    def value_range(self) -> ValueRange:
        """Range of the images' pixel values."""
        return self.backbone.encoder.value_range

    @property
    def input_signature(self) -> list[Any]:
        """What `call` takes, for `export`."""
        return self.backbone.input_signature

    def check_inputs(self, x: Any, name: str) -> None:
        """Refuse images, or clips, that cannot be meant for the encoder."""
        self.backbone.encoder.check_batch(x, name)

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse images and labels that cannot be meant, see `TrainedModel`."""
        super().check_batch(x, y, sample_weight, name)
        if y is not None:
            labels = y if isinstance(y, dict) else np.asarray(ops.convert_to_numpy(y))
            self.check_labels(labels, labels_name(name))


def labels_name(name):
    """What the labels beside the images called `name` are called in messages."""
    return {"x": "y"}.get(name, name.replace("[0]", "[1]"))


def check_backbone(backbone):
    """`backbone`, or a ValueError if it is none.

    Args:
        backbone: What the user gave.

    Returns:
        The `WorldModelBackbone`.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(backbone, WorldModelBackbone):
        raise ValueError(
            f"`backbone` must be a WorldModelBackbone. Received: {backbone!r}. Make "
            "one with WorldModelBackbone.from_world_model(model, protocol)."
        )
    return backbone


def check_class_labels(labels, num_classes, name, loss=None):
    """Refuse labels that are no classes, or not those that the loss takes.

    Args:
        labels: NumPy array of integers of any shape, or of floats with
            `num_classes` as its last axis.
        num_classes: Integer, number of classes.
        name: String, the argument's name in messages.
        loss: Optional loss that is compiled.

    Raises:
        ValueError: If a label is out of range, the width is another, or one-hot
            labels meet a loss for integers or integers one for one-hot labels.
    """
    one_hot = labels.ndim > 1 and labels.shape[-1] == num_classes
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy) and one_hot:
        raise ValueError(
            f"`{name}` must hold integers for {type(loss).__name__}. Received: one-hot "
            f"labels or probabilities of shape {labels.shape}. Pass labels.argmax("
            "axis=-1), or compile with keras.losses.CategoricalCrossentropy("
            "from_logits=True)."
        )
    if isinstance(loss, keras.losses.CategoricalCrossentropy) and not one_hot:
        raise ValueError(
            f"`{name}` must be one-hot or probabilities, of shape (num_images, "
            f"{num_classes}), for {type(loss).__name__}. Received shape: "
            f"{labels.shape}. Pass keras.utils.to_categorical(labels, {num_classes}), "
            "or compile with keras.losses.SparseCategoricalCrossentropy("
            "from_logits=True)."
        )
    if labels.dtype.kind in "iub":
        smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
        if smallest < 0 or largest >= num_classes:
            raise ValueError(
                f"`{name}` must hold classes from 0 to {num_classes - 1}. Received "
                f"labels from {smallest} to {largest}. Make the model with "
                f"num_classes={largest + 1}, or number the classes from 0."
            )
    elif not one_hot or not np.isfinite(labels).all():
        raise ValueError(
            f"`{name}` must hold integers, or probabilities of shape (num_images, "
            f"{num_classes}). Received: shape {labels.shape}, dtype {labels.dtype}."
        )
