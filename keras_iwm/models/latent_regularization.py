"""What methods without a teacher share: a loss against collapse."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import shown
from keras_iwm.layers.sliced_gaussian_regularizer import SlicedGaussianRegularizer
from keras_iwm.type_aliases import Tensor


class LatentRegularization:
    """Base class of methods that add a loss of the latents to their own.

    A subclass calls `set_regularizer`, and its `call` returns `"latents"`.
    """

    def set_regularizer(
        self, regularizer: keras.layers.Layer | None, seed: int | None
    ) -> None:
        """Keep the layer that makes the loss.

        Args:
            regularizer: Optional layer that makes a scalar loss of latents of shape
                `(batch_size, num_patches, hidden_dim)`. Defaults to a
                `SlicedGaussianRegularizer`.
            seed: Optional integer, the default layer's seed.
        """
        if regularizer is None:
            regularizer = SlicedGaussianRegularizer(seed=seed, name="regularizer")
        if not isinstance(regularizer, keras.layers.Layer):
            raise ValueError(
                "`regularizer` must be a layer that makes a loss of latents, such as a "
                f"SlicedGaussianRegularizer. Received: {shown(regularizer)}."
            )
        self.regularizer = regularizer
        # Keras's losses know how many copies of the model share a batch.
        self.regularizer_loss = keras.losses.MeanAbsoluteError(
            name="regularizer_loss", dtype="float32"
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the losses of any method, and that of the latents."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if self.regularizer is None:
            return loss
        latents = y_pred["latents"]
        latents = ops.reshape(latents, (ops.shape(latents)[0], -1, latents.shape[-1]))
        added = self.regularizer(latents, training=training)
        return loss + self.regularizer_loss(
            ops.zeros((1, 1)), ops.reshape(added, (1, 1))
        )
