"""Files of a folder, or of shards, read ahead, as batches for `fit`."""

import copy
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_count, as_number
from keras_iwm.datasets.checked_reader import CheckedReader
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.hashed_names import hashed_names
from keras_iwm.datasets.image_paths import ImagePaths
from keras_iwm.datasets.read_ahead import read_ahead
from keras_iwm.datasets.stand_ins import stand_ins
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Array


class FolderDataset(EpochOrderedDataset):
    """Base of `ImageFolder`, `ImageShards` and `ClipFolder`.

    It reads ahead, and replaces what is bad.

    A subclass implements `_read`.

    Args:
        files: Tuple of `ImagePaths` or `ShardRecords`, their labels and the class
            names, as `find_images` returns it.
        reader: `CheckedReader`.
        sample_shape: Tuple of integers, the shape of an image or clip.
        samples_per_file: Positive integer, for all files the same.
        **options: As `EpochOrderedDataset` takes them.
    """

    def __init__(
        self,
        files: tuple[ImagePaths, np.ndarray | None, list[str] | None],
        reader: CheckedReader,
        sample_shape: tuple[int, ...],
        samples_per_file: int = 1,
        **options: Any,
    ) -> None:
        paths, labels, class_names = files
        self.paths, self.class_names = paths, class_names
        super().__init__(len(paths) * samples_per_file, **options)
        self.labels = None if labels is None else np.repeat(labels, samples_per_file)
        self.image_size = reader.pool.image_size
        self.num_channels = reader.pool.num_channels
        self._sample_shape = sample_shape
        self._reader = reader
        self._pool = reader.pool
        self._bad_files = reader.bad_files
        self._batches = {}  # (epoch, index) -> future of images and their indices

    def __getstate__(self):
        """Returns what a copy or a pickle holds: all but what is prepared."""
        return {**vars(self), "_batches": {}}

    @property
    def skipped(self) -> dict[str, str]:
        """Dictionary from the path of each bad file met so far to the reason."""
        return dict(self._bad_files.reasons)

    def load_batch(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        wanted = self._batches_from(index)
        # What was prepared for another epoch, or skipped, is let go.
        self._batches = {
            (epoch, batch): self._batches.get((epoch, batch))
            or self._pool.threads.submit(
                self._read_batch, self.batch_indices(batch, epoch), epoch
            )
            for epoch, batch in wanted
        }
        images, indices = self._batches[wanted[0]].result()
        self._bad_files.warn("replaced by others")
        if self.labels is None:
            return (images,)
        return images, self.labels[indices]

    def load(
        self, indices: Array | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads samples into memory, for an evaluation.

        Args:
            indices: Optional integers, which ones; by default all, in file order.

        Returns:
            Tuple `(images, labels)`: an array of `n` images or clips as in a batch, of
            the files' dtype, and int32 `(n,)`, or `None` in place of the labels for a
            flat folder. Bad files are left out.
        """
        indices = np.arange(self.num_samples) if indices is None else indices
        indices = np.asarray(indices, dtype="int64")
        read = tqdm(
            self._pool.threads.map(self._read, indices[:, None]),
            desc=f"Reading {self._bad_files.kind}",
            total=len(indices),
        )
        shape = (len(indices), *self._sample_shape)
        images, good = np.empty(shape, self._reader.dtype()), []
        for index, (image, (is_good,)) in zip(indices, read, strict=True):
            images[len(good)] = image[0]
            good += [index] if is_good else []
        self._bad_files.warn("left out", at_once=True)
        return images[: len(good)], None if self.labels is None else self.labels[good]

    def good_batches(self, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads all samples once, in file order, a batch ahead for each thread.

        Args:
            start: Non-negative integer, how many batches to leave out.

        Yields:
            Pair `(indices, images)` for each `batch_size` samples: int64 `(n,)` and an
            array of `n` images or clips. Bad files are left out, so `n` may be
            smaller, and is for the last batch.
        """
        files, size = np.arange(self.num_samples), self.batch_size
        starts = range(as_count("start", start, 0) * size, len(files), size)
        batches = [files[first : first + size] for first in starts]
        pool = self._pool
        read = read_ahead(pool.threads, self._read, batches, pool.num_workers)
        for indices, (images, good) in zip(batches, read, strict=True):
            self._bad_files.warn("left out")
            yield indices[good], images[good]

    def split(self, fraction: float, seed: int = 0) -> tuple[Self, Self]:
        """Sets a random part of the files aside.

        On which side a file is depends on its name below the folder and the seed,
        whatever other files come or go, and on any system. So the share held out is
        near `fraction`, of the whole and of each class, but rarely the same; of a class
        of few files there may be none. To split a part again take another seed.

        Args:
            fraction: Float between 0 and 1, the share to hold out.
            seed: Non-negative integer that decides which files.

        Returns:
            Tuple `(train, held_out)` of two datasets of this class without a common
            file. The held-out one hands out every sample, in file order.

        Raises:
            ValueError: If a side has no file, or the training side no batch.
        """
        fraction = as_number("fraction", fraction, 0, 1)
        held_out = hashed_names(self.paths, as_count("seed", seed, 0)) < fraction
        kind = self._bad_files.kind
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"`fraction` must be between 0 and 1 and leave {kind} on both sides. "
                f"Received: {fraction} of {len(self.paths)} {kind}, "
                f"{held_out.sum()} of them held out. Take another fraction or seed."
            )
        self._reader.dtype()  # The parts must not find different ones.
        train = self._subset(~held_out)
        if len(train) == 0:
            raise ValueError(
                f"`fraction={fraction}` leaves {train.num_samples} {kind} to train on, "
                f"fewer than the batch size {self.batch_size}."
            )
        held_out = self._subset(held_out)
        held_out.shuffle = held_out.drop_remainder = False
        held_out.epoch = 0
        return train, held_out

    def _subset(self, chosen):
        """Returns a copy with the files where the boolean array `chosen` is true."""
        subset = copy.copy(self)  # It shares what reads and what is known as bad.
        samples_per_file = self.num_samples // len(self.paths)
        samples = np.repeat(chosen, samples_per_file)
        subset.paths = self.paths.take(chosen)
        subset.labels = None if self.labels is None else self.labels[samples]
        subset.num_samples = len(subset.paths) * samples_per_file
        subset.epoch = 0
        return subset

    def _batches_from(self, index):
        """Returns (epoch, index) of a batch and of those to prepare behind it."""
        numbers = range(index, index + 1 + self._pool.num_workers)
        return [
            (self.epoch + number // len(self), number % len(self)) for number in numbers
        ]

    def _read_batch(self, indices, epoch):
        """Returns the samples of a batch, and the indices of those it has at last."""
        images, good = self._read(indices, epoch)
        indices = indices.copy()
        seed = hash_seed(self.seed, epoch if self.shuffle else 0)
        for row in np.flatnonzero(~good):
            for index in stand_ins(indices[row], self.labels, self.num_samples, seed):
                image, (is_good,) = self._read([index], epoch)
                if is_good:
                    images[row], indices[row] = image[0], index
                    break
            else:
                kind = self._bad_files.kind
                raise ValueError(f"Not one of the {kind} can be used any more.")
        return images, indices

    def _read(self, indices, epoch=None):
        """Returns samples in one array, and which of them are good.

        Args:
            indices: Integers, which samples.
            epoch: Integer, for which training reads them, or `None`.
        """
        raise NotImplementedError
