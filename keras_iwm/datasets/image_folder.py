"""Images in a folder, as batches for `fit`."""

import copy
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_count, as_number, as_path
from keras_iwm.datasets.bad_files import BadFiles
from keras_iwm.datasets.checked_reader import CheckedReader
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.hashed_names import hashed_names
from keras_iwm.datasets.image_index import find_indexed_images
from keras_iwm.datasets.read_ahead import read_ahead
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, require_pillow
from keras_iwm.datasets.reader_pool import ReaderPool
from keras_iwm.datasets.stand_ins import stand_ins
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Array, Path, Size


class ImageFolder(EpochOrderedDataset):
    """Batches of the image files of a folder, of any number of channels.

    The folder holds either the files themselves, or one folder per class; the class
    names in alphabetical order give the labels 0, 1, 2 and so on (a class folder
    without images keeps its number). JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF (where
    Pillow can) and `.npy` files are read, animated ones up to their first frame,
    turned upright, resized until the shorter side fits, and centre-cropped. What comes
    out has the dtype and the range of the files:

    - Pictures of 8 bits, with a palette or without, become grey, RGB or RGBA with
      `num_channels` 1, 3 or 4: uint8, 0 to 255. With 1 and 3, what is transparent
      shows `background`; with 4, alpha is a channel.
    - PNG and TIFF of 16 bits: uint16, 0 to 65535 (12-bit cameras reach 4095).
    - TIFF of many bands or pages, or of floats, which needs tifffile: as stored.
    - `.npy` files `(height, width)` or `(height, width, channels)`: as stored.

    Only the first kind is converted; the others must have `num_channels` channels. All
    files must have the dtype of the first. Give the model their `value_range`.
    Integers of more than 8 bits and floats are resized in float32, and integers
    rounded.

    The order of the images is a pure function of `(seed, epoch)`. To resume, set
    `epoch` and pass the same number as `initial_epoch` to `fit`.

    **Bad files** cannot be read, have too many pixels, or other channels or another
    dtype. With `bad_files="skip"` a batch has another image in their place, of the same
    class if it has one: which, is a pure function of `(seed, epoch, file)`, so batches
    keep their size and a resumed run its order. `load` leaves them out. `skipped` and
    `skipped_csv` list them, a warning counts them, and more than a tenth of all files
    is an error. Whatever else lies in the folder (hidden files, other suffixes, links
    in a circle or to images listed elsewhere) is named in a warning.

    Decoding is the slow part, so batches are prepared ahead, also across the end of an
    epoch. Threads do it by default, since Pillow leaves Python's lock while it decodes.
    The rest of an image's way needs that lock, and so does the train step: where many
    cores must feed a fast accelerator, set `num_processes`. Each process takes some 20
    MB besides its batch, and needs no `if __name__ == "__main__"` in your script;
    Pillow's settings do not reach it.

    Args:
        folder: Path of the folder.
        image_size: Integer or pair `(height, width)`, of the images handed out.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order of its own.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Boolean, whether to leave out the images that do not fill a
            last batch.
        num_threads: Positive integer, threads that decode; as many batches are
            prepared ahead.
        num_processes: Non-negative integer, processes that decode in their place.
        num_channels: Positive integer: 1 for grey, 3 for RGB, 4 for RGBA or four
            bands, any other number for bands.
        bad_files: `"skip"`, or `"raise"` for a ValueError, also where something in
            the folder looks like images and is not read.
        skipped_csv: Optional path of a file to which a line `path,reason` is added
            for each bad file, once also if a run is resumed.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer. Images with more are bad files, before memory is
            taken for them. A large JPEG counts as small as it is decoded; Pillow has
            a limit of its own, twice `PIL.Image.MAX_IMAGE_PIXELS`.
        index: Optional path of a file that keeps the list of the images. If it
            exists, the folder is not looked through; if not, it is made. Later files
            are not seen until it is deleted.

    Returns:
        Each batch is `(images,)` for a flat folder, `(images, labels)` for class
        folders: `(batch_size, height, width, num_channels)` of the files' dtype and
        int32 `(batch_size,)`.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images
            both beside and inside class folders, or if a class has pictures but none
            that is read; later, if there are bad files, or too many.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import ImageFolder

    folder = tempfile.mkdtemp()
    for name in ("cat", "dog"):
        os.mkdir(os.path.join(folder, name))
        for i in range(8):
            pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
            Image.fromarray(pixels).save(os.path.join(folder, name, f"{i}.png"))

    dataset = ImageFolder(folder, image_size=(32, 32), batch_size=4)
    images, labels = dataset[0]  # (4, 32, 32, 3), (4,)
    train, held_out = dataset.split(0.25)  # about 12 and 4 images
    ```
    """

    def __init__(
        self,
        folder: Path,
        image_size: Size,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = True,
        num_threads: int = 4,
        num_processes: int = 0,
        num_channels: int = 3,
        bad_files: Literal["skip", "raise"] = "skip",
        skipped_csv: Path | None = None,
        background: int = BACKGROUND,
        max_pixels: int = MAX_PIXELS,
        index: Path | None = None,
    ) -> None:
        require_pillow()
        pool = ReaderPool(
            image_size, num_channels, background, max_pixels, num_threads, num_processes
        )
        folder = as_path("folder", folder)
        paths, labels, class_names = find_indexed_images(folder, index, bad_files)
        super().__init__(len(paths), batch_size, shuffle, seed, drop_remainder)
        self.paths = paths
        self.labels = labels
        self.class_names = class_names
        self.image_size, self.num_channels = pool.image_size, pool.num_channels
        self._pool = pool
        self._bad_files = BadFiles(bad_files, len(paths), skipped_csv)
        self._reader = CheckedReader(paths, pool, self._bad_files)
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
        """Reads images into memory, for an evaluation.

        Args:
            indices: Optional integers, which images; by default all, in file order.

        Returns:
            Tuple `(images, labels)`: `(n, height, width, num_channels)` of the
            files' dtype and int32 `(n,)`, or `None` in place of the labels for a
            flat folder. Bad files are left out.
        """
        indices = np.arange(self.num_samples) if indices is None else indices
        indices = np.asarray(indices, dtype="int64")
        read = tqdm(
            self._pool.threads.map(self._read, indices[:, None]),
            desc="Reading images",
            total=len(indices),
        )
        shape = (len(indices), *self.image_size, self.num_channels)
        images, good = np.empty(shape, self._reader.dtype()), []
        for index, (image, (is_good,)) in zip(indices, read, strict=True):
            images[len(good)] = image[0]
            good += [index] if is_good else []
        self._bad_files.warn("left out", at_once=True)
        return images[: len(good)], None if self.labels is None else self.labels[good]

    def good_batches(self, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads all images once, in file order, a batch ahead for each thread.

        Args:
            start: Non-negative integer, how many batches to leave out.

        Yields:
            Pair `(indices, images)` for each `batch_size` files: int64 `(n,)` and
            `(n, height, width, num_channels)`. Bad files are left out, so `n` may be
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
        """Sets a random part of the images aside.

        On which side a file is depends on its name below the folder and the seed,
        whatever other files come or go, and on any system. So the share held out is
        near `fraction`, of the whole and of each class, but rarely the same; of a class
        of few images there may be none. To split a part again take another seed.

        Args:
            fraction: Float between 0 and 1, the share to hold out.
            seed: Non-negative integer that decides which images.

        Returns:
            Tuple `(train, held_out)` of two `ImageFolder`s without a common image.
            The held-out one hands out every image, in file order.

        Raises:
            ValueError: If a side has no image, or the training side no batch.
        """
        fraction = as_number("fraction", fraction, 0, 1)
        held_out = hashed_names(self.paths, as_count("seed", seed, 0)) < fraction
        if held_out.all() or not held_out.any():
            raise ValueError(
                "`fraction` must be between 0 and 1 and leave images on both sides. "
                f"Received: {fraction} of {self.num_samples} images, "
                f"{held_out.sum()} of them held out. Take another fraction or seed."
            )
        self._reader.dtype()  # The parts must not find different ones.
        train = self._subset(~held_out)
        if len(train) == 0:
            raise ValueError(
                f"`fraction={fraction}` leaves {train.num_samples} images to train on, "
                f"fewer than the batch size {self.batch_size}."
            )
        held_out = self._subset(held_out)
        held_out.shuffle = held_out.drop_remainder = False
        held_out.epoch = 0
        return train, held_out

    def _subset(self, chosen):
        """Returns a copy with the images where the boolean array `chosen` is true."""
        subset = copy.copy(self)  # It shares what reads and what is known as bad.
        subset.paths = self.paths.take(chosen)
        subset.labels = None if self.labels is None else self.labels[chosen]
        subset.num_samples = len(subset.paths)
        subset.epoch = 0
        return subset

    def _batches_from(self, index):
        """Returns (epoch, index) of a batch and of those to prepare behind it."""
        numbers = range(index, index + 1 + self._pool.num_workers)
        return [
            (self.epoch + number // len(self), number % len(self)) for number in numbers
        ]

    def _read_batch(self, indices, epoch):
        """Returns the images of a batch, and the indices of those it has in the end."""
        images, good = self._read(indices)
        indices = indices.copy()
        seed = hash_seed(self.seed, epoch if self.shuffle else 0)
        for row in np.flatnonzero(~good):
            for index in stand_ins(indices[row], self.labels, self.num_samples, seed):
                image, (is_good,) = self._read([index])
                if is_good:
                    images[row], indices[row] = image[0], index
                    break
            else:
                raise ValueError("Not one of the image files can be used any more.")
        return images, indices

    def _read(self, indices):
        """Returns images, and which of them are good."""
        return self._reader.read([self.paths[index] for index in indices])
