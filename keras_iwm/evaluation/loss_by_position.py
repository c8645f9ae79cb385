"""Where in a sequence of patches an autoregressive model errs."""

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_object
from keras_iwm.array_arguments import check_images
from keras_iwm.backend import KeptState
from keras_iwm.distribution.device_batches import even_batch
from keras_iwm.type_aliases import AnyModel, Array


def loss_by_position(
    model: AnyModel, images: Array, batch_size: int = 64
) -> np.ndarray:
    """Return the loss of an autoregressive model at each place of its sequence.

    The first patches are hard to predict, since little is known, and in some orders
    later ones are too. An order whose patches are about as hard from first to last
    makes the better features (autoregressive image models, arXiv 2401.08541, section
    4). Attention is causal, without a prefix: a model with `prefix_attention` has never
    learned the first place.

    Args:
        model: `AutoregressiveModel`.
        images: Array of shape `(num_images, height, width, num_channels)` of the
            model's `image_size` and in its `value_range`.
        batch_size: Positive integer. The last batch is filled up.

    Returns:
        Float64 NumPy array of shape `(num_patches,)`: the mean squared difference at
        the first patch of the order, the second, ... Their mean is the loss.

    Raises:
        ValueError: If the images do not fit the model.

    Example:

    ```python
    model = keras_iwm.models.AutoregressiveModel.from_preset(
        "autoregressive_tiny_32", load_weights=False
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    losses = keras_iwm.evaluation.loss_by_position(model, images)  # (16,)
    ```
    """
    needed = ("predict_patches", "sequence_draws", "image_size", "value_range")
    as_object("model", model, needed, "an AutoregressiveModel")
    images = check_images(
        images, model.image_size, model.value_range, num_channels=model.num_channels
    )
    batch_size = as_count("batch_size", batch_size)
    batch_size = even_batch(min(batch_size, len(images)))
    losses, total = _Losses(model), np.zeros(model.num_patches)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * 3
        found = losses.predict_on_batch(np.pad(batch, padding, mode="edge"))
        total += found[: len(batch)].astype("float64").sum(axis=0)
    return total / len(images)


class _Losses(KeptState, keras.Model):
    """Mean squared difference of each patch, in the order of the sequence."""

    def __init__(self, model):
        super().__init__(autocast=False, name="losses")
        self.model = model
        self.built = True

    def call(self, images, training=None):
        """Predict patches of images, and compare."""
        patch_ids, _ = self.model.sequence_draws(images, training=training)
        outputs, _ = self.model.predict_patches(images, patch_ids, training=training)
        squares = ops.square(outputs["prediction"] - outputs["target"])
        # Beside the values of a patch, a head may have an axis of levels of noise.
        return ops.mean(squares, axis=tuple(range(2, len(squares.shape))))
