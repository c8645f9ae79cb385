"""An MLP with batch normalisation."""

import keras
from keras import ops

from keras_iwm.layers.batch_norm import BatchNorm
from keras_iwm.layers.token_dense import TokenDense


@keras.saving.register_keras_serializable(package="keras_iwm")
class BatchNormalizedMLP(keras.layers.Layer):
    """Dense layers without bias, each behind it normalised over the batch.

    MoCo v3's projector and predictor (arXiv 2104.02057): ReLU follows each norm but
    the last, which has no weights either. Float32 whatever the precision policy: what
    images have in common is subtracted, and half precision would leave little of the
    rest. Beside an encoder's, its products are few.

    Args:
        input_dim: Integer, features that come in.
        dims: Tuple of integers, features of each layer.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch_size, ..., input_dim)`. Places along the axes
            between, such as views, are normalised apart.

    Returns:
        Float32 tensor of shape `(batch_size, ..., dims[-1])`.
    """

    def __init__(self, input_dim, dims, **kwargs):
        # Sublayers are built here and frozen last, as an encoder's are.
        trainable = kwargs.pop("trainable", True)
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.input_dim, self.dims = input_dim, dims
        self.dense_layers = [
            TokenDense(units, use_bias=False, dtype="float32", name=f"dense_{index}")
            for index, units in enumerate(dims)
        ]
        self.norms = [
            BatchNorm(affine=index < len(dims) - 1, name=f"norm_{index}")
            for index in range(len(dims))
        ]
        self.build((None, input_dim))
        self.trainable = trainable

    def build(self, inputs_shape):
        """Create all weights; the constructor does it."""
        for dense, norm in zip(self.dense_layers, self.norms, strict=True):
            dense.build((None, inputs_shape[-1]))
            inputs_shape = (None, dense.units)
            norm.build(inputs_shape)

    def call(self, inputs):
        """Apply the layers one after the other."""
        for dense, norm in zip(self.dense_layers, self.norms, strict=True):
            inputs = norm(dense(inputs))
            if norm.affine:
                inputs = ops.relu(inputs)
        return inputs

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "dims": self.dims,
        }
