"""Batch normalisation over all copies of a model."""

import keras
from keras import ops

from keras_iwm.backend import gather_batch


@keras.saving.register_keras_serializable(package="keras_iwm")
class BatchNorm(keras.layers.Layer):
    """Normalise each feature over the images of the batch that all devices share.

    For heads that live during pretraining only, and whose loss compares the images of
    a batch: statistics are those of the batch in evaluation too, and none are kept.
    Keras's own normalises on most backends over one copy's part of the batch.

    Args:
        affine: Boolean, whether to scale and shift by weights behind it.
        epsilon: Float, added to the variance.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch_size, ..., features)`. Places along the axes
            between, such as views, are normalised apart.

    Returns:
        Float32 tensor of the same shape.
    """

    def __init__(self, affine=True, epsilon=1e-5, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.affine = affine
        self.epsilon = epsilon

    def build(self, inputs_shape):
        """Create scale and shift."""
        if self.affine:
            self.gamma = self.add_weight(
                shape=inputs_shape[-1:], initializer="ones", name="gamma"
            )
            self.beta = self.add_weight(
                shape=inputs_shape[-1:], initializer="zeros", name="beta"
            )

    def call(self, inputs):
        """Normalise over the first axis."""
        mean, variance = batch_moments(inputs)
        outputs = (inputs - mean) * ops.rsqrt(variance + self.epsilon)
        return outputs * self.gamma + self.beta if self.affine else outputs

    def compute_output_shape(self, inputs_shape):
        """Return the shape of the inputs."""
        return inputs_shape

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "affine": self.affine,
            "epsilon": self.epsilon,
        }


def batch_moments(inputs):
    """Mean and variance over the rows of all copies of a model.

    Args:
        inputs: Float32 tensor of shape `(batch_size, ...)`.

    Returns:
        Two tensors of shape `(...)`.
    """
    count = ops.cast(ops.shape(inputs)[0], "float32")
    # A copy without rows counts for nothing.
    mean = ops.sum(inputs, axis=0) / ops.maximum(count, 1.0)
    squares = ops.sum(ops.square(inputs - mean), axis=0)
    counts = ops.broadcast_to(count, ops.shape(mean))
    # One exchange, of small parts, and no difference of large numbers.
    counts, means, squares = ops.unstack(
        gather_batch(ops.stack([counts, mean, squares])[None]), axis=1
    )
    total = ops.sum(counts, axis=0)
    whole = ops.sum(counts * means, axis=0) / total
    squares = squares + counts * ops.square(means - whole)
    return whole, ops.sum(squares, axis=0) / total
