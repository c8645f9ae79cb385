"""Images held in memory, as batches for `fit`."""

from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_optional
from keras_iwm.array_arguments import as_array
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.type_aliases import Array


class ImageArray(EpochOrderedDataset):
    """Batches from an array of images, in an order that a resumed run continues.

    Like handing the array to `fit`, but the order of the images is a pure function
    of `(seed, epoch)` instead of a hidden global state. To resume, set `epoch` and
    pass the same number as `initial_epoch` to `fit`.

    Args:
        images: Array `(num_images, height, width, num_channels)`, integers or
            floating point, in the model's `value_range`; grey ones may lack the last
            axis. Not copied.
        labels: Optional array `(num_images, ...)`. Pretraining ignores them.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order of its own.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Boolean, whether to leave out the images that do not fill a
            last batch.
        num_channels: Positive integer, the channels that the images must have.

    Returns:
        Each batch is `(images,)` or `(images, labels)`, with the arrays' own dtypes
        and values.

    Raises:
        ValueError: If the arrays have the wrong rank, channels, dtype or length, or
            if a number is out of its range.

    Example:

    ```python
    import numpy as np
    from keras_iwm.datasets import ImageArray

    images = np.random.randint(0, 256, (100, 32, 32, 3), dtype="uint8")
    dataset = ImageArray(images, batch_size=16)
    len(dataset)  # 6
    (batch,) = dataset[0]
    batch.shape  # (16, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        images: Array,
        labels: Array | None = None,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = True,
        num_channels: int = 3,
    ) -> None:
        images = check_images(images, num_channels)
        labels = as_optional(as_entries, "labels", labels, len(images))
        super().__init__(
            len(images),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )
        self.images = images
        self.labels = labels

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        indices = self.batch_indices(index)
        if self.labels is None:
            return (self.images[indices],)
        return self.images[indices], self.labels[indices]


def as_entries(name, values, count) -> np.ndarray:
    """Returns an array with an entry for each image or clip, or raises."""
    values = as_array(name, values)
    if values.ndim == 0 or len(values) != count:
        raise ValueError(
            f"`{name}` must have one entry for each of the {count} images or clips. "
            f"Received: shape {values.shape}"
        )
    return values


def check_images(images, num_channels, name="images") -> np.ndarray:
    """Returns an array `(num_images, height, width, num_channels)`, or raises.

    Grey images, of one channel, may come without its axis.
    """
    num_channels = as_count("num_channels", num_channels)
    images = np.asarray(images)
    if images.ndim == 3 and num_channels == 1:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] != num_channels or len(images) == 0:
        hint = ""
        if images.ndim == 4 and images.shape[1] == num_channels:
            hint = " Move the channels last: `images.transpose(0, 2, 3, 1)`."
        elif images.ndim == 3:
            hint = (
                " For grey images pass `num_channels=1`, or repeat them three times: "
                "`np.stack([images] * 3, -1)`."
            )
        elif images.ndim == 4 and len(images):
            hint = (
                f" If they have so many channels, pass num_channels={images.shape[-1]}."
            )
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, {num_channels}) and "
            f"at least one image. Received: shape {images.shape}.{hint}"
        )
    if images.dtype.kind not in "iuf":
        raise ValueError(
            f"`{name}` must be integers or floating point. Received: {images.dtype}"
        )
    return images
