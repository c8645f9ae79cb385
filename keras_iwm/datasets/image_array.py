"""Images held in memory, as batches for `fit`."""

import numpy as np

from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset


class ImageArray(EpochOrderedDataset):
    """Batches from an array of images, in an order that a resumed run continues.

    Like handing the array to `fit`, but the order of the images is a pure function
    of `(seed, epoch)` instead of a hidden global state. To resume, set `epoch` and
    pass the same number as `initial_epoch` to `fit`.

    Args:
        images: Array `(num_images, height, width, 3)`, uint8 or floating point, in
            the model's `value_range`. Not copied.
        labels: Optional array `(num_images, ...)`. Pretraining ignores them.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order of its own.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Boolean, whether to leave out the images that do not fill a
            last batch.

    Returns:
        Each batch is `(images,)` or `(images, labels)`, with the arrays' own dtypes.

    Raises:
        ValueError: If the arrays have the wrong rank, channels, dtype or length, or
            if a number is out of its range.

    Example:

    ```python
    import numpy as np
    from keras_iwm.datasets import ImageArray

    images = np.random.randint(0, 256, (100, 32, 32, 3), dtype="uint8")
    dataset = ImageArray(images, batch_size=16)
    dataset.num_batches  # 6
    (batch,) = dataset[0]
    batch.shape  # (16, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        images,
        labels=None,
        batch_size=64,
        shuffle=True,
        seed=0,
        drop_remainder=True,
    ):
        images = check_images(images)
        if labels is not None:
            labels = np.asarray(labels)
            if labels.ndim == 0 or len(labels) != len(images):
                raise ValueError(
                    f"`labels` must have one entry for each of the {len(images)} "
                    f"images. Received: shape {labels.shape}"
                )
        super().__init__(
            len(images),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )
        self.images = images
        self.labels = labels

    def load_batch(self, index):
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        indices = self.batch_indices(index)
        if self.labels is None:
            return (self.images[indices],)
        return self.images[indices], self.labels[indices]


def check_images(images, name="images"):
    """Returns `images` as an array `(num_images, height, width, 3)`, or raises."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        hint = ""
        if images.ndim == 4 and images.shape[1] == 3:
            hint = " Move the channels last: `images.transpose(0, 2, 3, 1)`."
        elif images.ndim == 3:
            hint = " Repeat grey images three times: `np.stack([images] * 3, -1)`."
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, 3) and at least "
            f"one image. Received: shape {images.shape}.{hint}"
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"`{name}` must be uint8 or floating point. Received: {images.dtype}"
        )
    return images
