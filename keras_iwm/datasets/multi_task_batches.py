"""Batches that are split evenly over several tasks."""

from collections.abc import Mapping

import numpy as np

from keras_iwm.arguments import as_count, shown
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.image_array import check_images
from keras_iwm.type_aliases import Array


class MultiTaskBatches(EpochOrderedDataset):
    """Batches for a `MultiTaskModel`: as many images of each task in every one.

    The sets may be of different sizes. Each is drawn from in an order of its own, every
    image once before any comes again, and small sets begin anew while large ones
    are still in their first pass. An epoch is one pass over the largest set, or
    `batches_per_epoch`; the others go on in the next epoch where this one left them.

    The order of a set is a pure function of the seed, its task's name and the number of
    the pass, whatever other tasks there are. To resume, set `epoch` and pass the same
    number as `initial_epoch` to `fit`.

    Args:
        data: Dictionary from task names to pairs `(images, labels)`: arrays
            `(num_images, height, width, num_channels)`, integers or floating
            point, of one size for all tasks, and `(num_images, ...)`. Not copied.
        batch_size: Positive integer, images in a batch, of all tasks together; a
            multiple of the number of tasks.
        seed: Non-negative integer from which the orders are drawn.
        batches_per_epoch: Optional positive integer. By default the batches in one
            pass over the largest set.
        num_channels: Positive integer, the channels that the images must have.

    Returns:
        Each batch is `(images, labels)`, two dictionaries from task names to arrays
        with the arrays' own dtypes.

    Raises:
        ValueError: If there is no task, an array has the wrong shape or dtype, the
            images differ in size, or a number is out of its range.

    Example:

    ```python
    generator = np.random.default_rng(0)
    animals = generator.integers(0, 256, (40, 32, 32, 3), "uint8")
    places = generator.integers(0, 256, (12, 32, 32, 3), "uint8")
    dataset = keras_iwm.datasets.MultiTaskBatches(
        {
            "animals": (animals, np.arange(40) % 5),
            "places": (places, np.arange(12) % 3),
        },
        batch_size=16,
    )
    len(dataset)  # 5: the animals once, the places three times and a third
    images, labels = dataset[0]
    images["places"].shape  # (8, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        data: Mapping[str, tuple[Array, Array]],
        batch_size: int = 64,
        seed: int = 0,
        batches_per_epoch: int | None = None,
        num_channels: int = 3,
    ) -> None:
        if not isinstance(data, dict) or not data:
            raise ValueError(
                "`data` must be a dictionary from task names to (images, labels), with "
                f"at least one task. Received: {type(data).__name__}."
            )
        self.images, self.labels = {}, {}
        for name, pair in data.items():
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ValueError(
                    f"`data[{name!r}]` must be a pair (images, labels). Received: "
                    f"{shown(pair)}."
                )
            images, labels = pair
            self.images[name] = check_images(images, num_channels, f"data[{name!r}]")
            self.labels[name] = np.asarray(labels)
            if self.labels[name].shape[:1] != (len(images),):
                raise ValueError(
                    f"`data[{name!r}]` must have one label for each of its "
                    f"{len(images)} images. Received: labels of shape "
                    f"{self.labels[name].shape}."
                )
        sizes = {name: images.shape[1:3] for name, images in self.images.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "`data` must hold images of one size, since all tasks share a batch. "
                f"Received: {sizes}. Resize them, or read them with one `image_size`."
            )
        batch_size = as_count("batch_size", batch_size)
        if batch_size % len(data):
            raise ValueError(
                "`batch_size` must be a multiple of the number of tasks, which get "
                f"equal parts. Received: {batch_size} for {len(data)} tasks."
            )
        if batches_per_epoch is None:
            largest = max(len(images) for images in self.images.values())
            batches_per_epoch = largest * len(data) // batch_size
            if batches_per_epoch == 0:
                raise ValueError(
                    "`batch_size` must be at most the number of tasks times the "
                    f"images of the largest, {largest}. Received: {batch_size}. Make "
                    "it smaller, or set `batches_per_epoch` to repeat images."
                )
        batches_per_epoch = as_count("batches_per_epoch", batches_per_epoch)
        super().__init__(batches_per_epoch * batch_size, batch_size, seed=seed)

    @EpochOrderedDataset.share.setter
    def share(self, share: tuple[int, int]) -> None:
        """Set which part of every batch, and of each task in it, is handed out."""
        EpochOrderedDataset.share.fset(self, share)
        if self.batch_size % (len(self.images) * share[1]):
            raise ValueError(
                f"`share` must split the {self.batch_size // len(self.images)} images "
                f"of each task in a batch evenly. Received: share={share}. Change the "
                "batch size or start as many processes as divide it."
            )

    def order(self, epoch: int) -> np.ndarray:
        """Returns the sample indices of an epoch's batches.

        Tasks take turns, so that any piece of a batch has as many of each.
        """
        per_batch = self.batch_size // len(self.images)
        count = len(self) * per_batch
        orders = [
            self._draws(name, epoch * count, count).reshape(-1, per_batch)
            for name in self.images
        ]
        return np.stack(orders, axis=-1).reshape(-1)

    def _draws(self, name, start, count):
        """Returns the draws `start` to `start + count` from the set of a task."""
        size = len(self.images[name])
        passes = range(start // size, (start + count - 1) // size + 1)
        orders = [
            np.random.default_rng([self.seed, number, *name.encode()]).permutation(size)
            for number in passes
        ]
        return np.concatenate(orders)[start % size :][:count]

    def load_batch(
        self, index: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns batch `index` of the current epoch: two dictionaries by task."""
        indices = self.batch_indices(index).reshape(-1, len(self.images)).T
        chosen = dict(zip(self.images, indices, strict=True))
        return (
            {name: self.images[name][chosen[name]] for name in self.images},
            {name: self.labels[name][chosen[name]] for name in self.images},
        )
