"""Labelled images in memory, augmented by Keras's layers batch by batch."""

import random
import threading
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_count, shown
from keras_iwm.datasets.image_array import ImageArray
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Array

# One for all datasets: they may share layers, and Python's global random state.
_LOCK = threading.Lock()


class AugmentedImages(ImageArray):
    """Batches of labelled images for finetuning, augmented, with one-hot labels.

    Any of Keras's preprocessing layers will do: `RandomFlip`, `RandomCrop`,
    `RandAugment`, and `MixUp` and `CutMix`, which mix labels too and want to come last.
    They are applied in their order, to each batch as a whole, with the backend that
    runs. `RandAugment` runs all its operations on every batch, which costs several
    times a small model's step. Images and labels come out as NumPy arrays, so use
    `keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)`.

    What the layers draw for a batch is a pure function of `(seed, epoch, batch)`, like
    the order of the images: a resumed run continues exactly, and batches may be loaded
    in any order and from several threads. The layers' own seeds do not matter. (Not so
    `RandomElasticTransform` on Torch, which Keras draws from a global stream.)

    Args:
        images: Array `(num_images, height, width, num_channels)`, integers or
            floating point, in the model's `value_range`; grey ones may lack the last
            axis. Not copied.
        labels: Integers `(num_images,)` from 0 to `num_classes - 1`.
        num_classes: Integer, the width of the one-hot labels.
        augmentations: Keras layers that take a dictionary of `"images"` and
            `"labels"`; a layer that needs a `value_range` must get the images'.
        batch_size: Positive integer.
        seed: Non-negative integer from which the orders of the images are drawn, and
            whatever the layers draw.
        drop_remainder: Boolean, whether to leave out the images that do not fill a
            last batch.
        num_channels: Positive integer, the channels that the images must have. Some
            of Keras's layers need 3.

    Returns:
        Each batch is `(images, labels)`, float32
        `(batch_size, height, width, num_channels)` in the range of the images, and
        float32 `(batch_size, num_classes)`.

    Raises:
        ValueError: If the arrays do not fit, or a label is out of range.

    Example:

    ```python
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), "uint8")
    dataset = keras_iwm.datasets.AugmentedImages(
        images,
        np.arange(32) % 4,
        num_classes=4,
        augmentations=[
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=0.3),
            keras.layers.MixUp(alpha=0.8),
        ],
        batch_size=8,
    )
    batch_images, batch_labels = dataset[0]  # (8, 32, 32, 3), (8, 4)
    ```
    """

    def __init__(
        self,
        images: Array,
        labels: Array,
        num_classes: int,
        augmentations: Sequence[Any] = (),
        batch_size: int = 64,
        seed: int = 0,
        drop_remainder: bool = True,
        num_channels: int = 3,
    ) -> None:
        super().__init__(
            images,
            np.asarray(labels),
            batch_size,
            seed=seed,
            drop_remainder=drop_remainder,
            num_channels=num_channels,
        )
        if (
            labels is None
            or self.labels.ndim != 1
            or self.labels.dtype.kind not in "iu"
        ):
            raise ValueError(
                "`labels` must be integers of shape (num_images,). Received: shape "
                f"{self.labels.shape}, dtype {self.labels.dtype}."
            )
        num_classes = as_count("num_classes", num_classes)
        if self.labels.min() < 0 or self.labels.max() >= num_classes:
            raise ValueError(
                f"`labels` must lie from 0 to {num_classes - 1}, below `num_classes`. "
                f"Received labels from {self.labels.min()} to {self.labels.max()}."
            )
        self.num_classes = num_classes
        if not isinstance(augmentations, (list, tuple)) or not all(
            isinstance(layer, keras.Layer) for layer in augmentations
        ):
            raise ValueError(
                "`augmentations` must be a list of Keras layers, () for none. "
                f"Received: augmentations={shown(augmentations)}."
            )
        self.augmentations = list(augmentations)

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch, augmented."""
        images, labels = super().load_batch(index)
        batch = {
            "images": images.astype("float32"),
            "labels": np.eye(self.num_classes, dtype="float32")[labels],
        }
        if self.augmentations:
            batch = self._augment(batch, index)
        return batch["images"], batch["labels"]

    def _augment(self, batch, index):
        """Returns what the layers make of a dictionary of arrays."""
        batch = {k: keras.ops.convert_to_tensor(value) for k, value in batch.items()}
        seed = self.seed
        for number in (self.epoch, index, self.share[0]):
            seed = hash_seed(seed, number)
        with _LOCK:
            python_state = random.getstate()
            try:
                random.seed(seed)  # AugMix draws from it.
                for number, layer in enumerate(self.augmentations):
                    _seed_draws(layer, hash_seed(seed, number))
                    batch = layer(batch, training=True)
            finally:
                random.setstate(python_state)
        return {k: keras.ops.convert_to_numpy(value) for k, value in batch.items()}


def _seed_draws(layer, seed):
    """Sets whatever a layer and the layers in it will draw."""
    states = [
        variable
        for variable in layer.variables
        if variable.name == "seed_generator_state"
    ]
    for number, state in enumerate(states):
        state.assign(np.array([hash_seed(seed, number), 0]))
