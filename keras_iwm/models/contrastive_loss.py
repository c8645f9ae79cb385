"""The losses of contrastive pretraining."""

import keras
from keras import ops

from keras_iwm.backend import gather_batch


@keras.saving.register_keras_serializable(package="keras_iwm")
class ContrastiveLoss(keras.losses.Loss):
    """How well each view of an image tells the other view of the same image.

    With negatives it is InfoNCE in MoCo v3's form (arXiv 2104.02057), summed over the
    views: the cross-entropy, times `2 * temperature`, of finding the target of the same
    image among those of all images in the batch, on all devices. Without, it is BYOL's
    (arXiv 2006.07733), `2 - 2 * cosine` summed over the views. Vectors are scaled to
    unit length first; targets get no gradient.

    Args:
        temperature: Positive float, by which cosines are divided.
        negatives: Boolean, whether to tell images apart.
        **kwargs: Passed to `keras.losses.Loss`.

    Call arguments:
        y_true: Targets of shape `(batch_size, num_views, dim)`.
        y_pred: Predictions of the same shape. Those of one place belong together.

    Returns:
        Scalar, the mean over the images.
    """

    def __init__(self, temperature=0.2, negatives=True, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.temperature = temperature
        self.negatives = negatives

    def call(self, y_true, y_pred):
        """Return the loss of each image."""
        targets = unit_length(ops.stop_gradient(y_true))
        predictions = unit_length(y_pred)
        cosines = ops.sum(targets * predictions, axis=-1)
        if not self.negatives:
            return ops.sum(2.0 - 2.0 * cosines, axis=-1)
        logits = ops.einsum("bvd,nvd->bvn", predictions, gather_batch(targets))
        entropy = ops.logsumexp(logits / self.temperature, axis=-1)
        entropy = entropy - cosines / self.temperature
        return 2.0 * self.temperature * ops.sum(entropy, axis=-1)

    def get_config(self):
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "temperature": self.temperature,
            "negatives": self.negatives,
        }


def unit_length(vectors):
    """Scale vectors to length 1; of one without length nothing is left."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-12))
