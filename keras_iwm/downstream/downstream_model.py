"""What the downstream models share."""

import keras
import numpy as np

from keras_iwm.models.trained_model import TrainedModel


class DownstreamModel(TrainedModel):
    """A model on a `WorldModelBackbone`, with early checks of its labels.

    Subclasses have `backbone` and `check_labels(labels, name)`, which takes NumPy
    arrays and raises a `ValueError`. Labels that come in a dataset are not seen before
    the step; there, a compiled step cannot raise.
    """

    def fit(self, x=None, y=None, validation_data=None, **kwargs):
        """Fit like any Keras model, after a look at data that are arrays.

        Args:
            x: What `keras.Model.fit` takes.
            y: What `keras.Model.fit` takes.
            validation_data: What `keras.Model.fit` takes.
            **kwargs: Further arguments of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If labels do not fit the model or the images.
        """
        self.check_data(x, y, "y")
        if isinstance(validation_data, (tuple, list)) and len(validation_data) > 1:
            self.check_data(*validation_data[:2], "validation_data[1]")
        return super().fit(x, y, validation_data=validation_data, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """Evaluate like any Keras model, after a look at data that are arrays.

        Args:
            x: What `keras.Model.evaluate` takes.
            y: What `keras.Model.evaluate` takes.
            **kwargs: Further arguments of `keras.Model.evaluate`.

        Returns:
            What `keras.Model.evaluate` returns.

        Raises:
            ValueError: If labels do not fit the model or the images.
        """
        self.check_data(x, y, "y")
        return super().evaluate(x, y, **kwargs)

    def check_data(self, x, y, name):
        """Check what can be looked at without a cost: labels that are an array.

        Args:
            x: Images, or what else `fit` takes.
            y: Labels, or what else `fit` takes.
            name: String, the labels' name in messages.
        """
        if isinstance(y, np.ndarray):
            self.check_labels(y, name)

    def compile_from_config(self, config):
        """Compile as a saved model was; Keras leaves this to an own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @classmethod
    def from_config(cls, config):
        """Make a model from its config."""
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)


def as_num_classes(num_classes):
    """`num_classes` as an integer of at least 2, or a ValueError that says so."""
    whole = not isinstance(num_classes, bool) and int(num_classes) == num_classes
    if not whole or num_classes < 2:
        raise ValueError(
            "`num_classes` must be an integer of at least 2. Received: "
            f"num_classes={num_classes!r}."
        )
    return int(num_classes)


def check_class_labels(labels, num_classes, name):
    """Refuse integer labels that are no classes, and one-hot ones of another width.

    Args:
        labels: NumPy array of integers of any shape, or of floats with
            `num_classes` as its last axis.
        num_classes: Integer, number of classes.
        name: String, the argument's name in messages.

    Raises:
        ValueError: If a label is out of range or the width is another.
    """
    if labels.dtype.kind in "iub":
        smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
        if smallest < 0 or largest >= num_classes:
            raise ValueError(
                f"`{name}` must hold classes from 0 to {num_classes - 1}. Received "
                f"labels from {smallest} to {largest}. Make the model with "
                f"num_classes={largest + 1}, or number the classes from 0."
            )
    elif labels.ndim < 2 or labels.shape[-1] != num_classes:
        raise ValueError(
            f"`{name}` must hold integers, or probabilities of shape (num_images, "
            f"{num_classes}). Received: shape {labels.shape}, dtype {labels.dtype}."
        )
