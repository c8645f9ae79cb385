"""A linear probe that learns beside what it watches."""

import keras
from keras import ops

from keras_iwm.arguments import as_count


@keras.saving.register_keras_serializable(package="keras_iwm")
class OnlineProbe(keras.layers.Layer):
    """Classify features that are learned without labels, while they are learned.

    A linear layer with its own loss and accuracy. Its input comes behind a stopped
    gradient, so that the features do not notice.

    Args:
        num_classes: Integer, at least 2.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        features: Tensor of shape `(batch_size, hidden_dim)`.

    Returns:
        Float32 tensor of shape `(batch_size, num_classes)`, logits.
    """

    def __init__(self, num_classes, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_classes = as_count("num_classes", num_classes, smallest=2)
        self.dense = keras.layers.Dense(
            num_classes, kernel_initializer="zeros", dtype="float32", name="dense"
        )
        self.loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, name="probe_loss", dtype="float32"
        )
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="probe_accuracy")

    def build(self, features_shape):
        """Create the linear layer."""
        self.dense.build(features_shape)

    def call(self, features):
        """Return the logits."""
        return self.dense(features)

    def gradient_alone(self, labels, logits):
        """Return a zero with the gradient of the probe's loss; log the accuracy.

        So the probe is trained without showing in the loss that is watched.
        """
        loss = self.loss(labels, logits)
        self.accuracy.update_state(labels, logits)
        return loss - ops.stop_gradient(loss)

    def check_labels(self, labels):
        """Refuse labels that are no classes.

        Args:
            labels: NumPy array.

        Raises:
            ValueError: If they are not integers from 0 to `num_classes - 1`, one for
                each image.
        """
        whole = labels.dtype.kind in "iu" and labels.shape[1:] in ((), (1,))
        if (
            whole
            and labels.size
            and not (labels.min() >= 0 and labels.max() < self.num_classes)
        ):
            raise ValueError(
                f"Labels must be classes from 0 to {self.num_classes - 1}. Received "
                f"labels from {labels.min()} to {labels.max()}. Make the model with "
                f"num_classes={labels.max() + 1}, or number the classes from 0."
            )
        if not whole:
            raise ValueError(
                "Labels must be integers, one for each image. Received: shape "
                f"{labels.shape}, dtype {labels.dtype}. Turn one-hot labels into "
                "integers with np.argmax(labels, axis=-1)."
            )

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
