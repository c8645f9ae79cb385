"""Images in a folder, as batches for `fit`."""

import concurrent.futures
import copy
import pathlib
import queue

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_count, as_size
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.datasets.image_reader import ImageReader
from keras_iwm.datasets.read_image import (
    SUFFIXES,
    add_dtype,
    image_files,
    read_images,
    require_pillow,
)

# What belongs to this process and is made anew in a copy.
_UNCOPIED = ("_threads", "_idle_readers", "_batches")


class ImageFolder(EpochOrderedDataset):
    """Batches of the image files of a folder, of any number of channels.

    The folder holds either the files themselves, or one folder per class; the class
    names in alphabetical order give the labels 0, 1, 2 and so on (a class folder
    without images keeps its number). JPEG, PNG, WebP, BMP, TIFF and `.npy` files are
    read, turned upright, resized until the shorter side fits, and centre-cropped. What
    comes out has the dtype and the range of the files:

    - Pictures of 8 bits, with a palette or without, become grey, RGB or RGBA with
      `num_channels` 1, 3 or 4: uint8, 0 to 255. Alpha is dropped, not applied: below
      transparent pixels may lie any colour.
    - PNG and TIFF of 16 bits: uint16, 0 to 65535 (12-bit cameras reach 4095).
    - TIFF of many bands or pages, or of floats, which needs tifffile: as stored.
    - `.npy` files `(height, width)` or `(height, width, channels)`: as stored.

    Only the first kind is converted; the others must have `num_channels` channels. All
    files must have the same dtype. Give the model their `value_range`. Integers of
    more than 8 bits and floats are resized in float32, and integers rounded.

    The order of the images is a pure function of `(seed, epoch)`. To resume, set
    `epoch` and pass the same number as `initial_epoch` to `fit`.

    Decoding is the slow part, so batches are prepared ahead, also across the end of an
    epoch. Threads do it by default, since Pillow leaves Python's lock while it decodes.
    The rest of an image's way needs that lock, and so does the train step: where many
    cores must feed a fast accelerator, set `num_processes`. Each process takes some 20
    MB besides its batch, and needs no `if __name__ == "__main__"` in your script; but
    Pillow's settings, such as `ImageFile.LOAD_TRUNCATED_IMAGES`, do not reach it.
    Which is faster, `benchmarks/input_pipeline.py` measures.

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
        num_processes: Non-negative integer. If positive, so many processes decode
            instead of the threads, and as many batches are prepared ahead.
        num_channels: Positive integer: 1 for grey, 3 for RGB, 4 for RGBA or four
            bands, any other number for bands.

    Returns:
        Each batch is `(images,)` for a flat folder, `(images, labels)` for class
        folders: `(batch_size, height, width, num_channels)` of the files' dtype and
        int32 `(batch_size,)`.

    Raises:
        ValueError: If the folder does not exist, holds no images, or holds images
            both beside and inside class folders; later, if a file cannot be read,
            has other channels, or another dtype than those before it.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import ImageFolder

    folder = tempfile.mkdtemp()
    for name in ("cat", "dog"):
        os.mkdir(os.path.join(folder, name))
        for i in range(4):
            pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
            Image.fromarray(pixels).save(os.path.join(folder, name, f"{i}.png"))

    dataset = ImageFolder(folder, image_size=(32, 32), batch_size=4)
    images, labels = dataset[0]  # (4, 32, 32, 3), (4,)
    train, held_out = dataset.split(0.25)  # 6 and 2 images
    images, labels = held_out.load()
    ```
    """

    def __init__(
        self,
        folder,
        image_size,
        batch_size=64,
        shuffle=True,
        seed=0,
        drop_remainder=True,
        num_threads=4,
        num_processes=0,
        num_channels=3,
    ):
        require_pillow()
        image_size = as_size("image_size", image_size)
        num_channels = as_count("num_channels", num_channels)
        paths, labels, class_names = _find_images(pathlib.Path(folder))
        super().__init__(
            len(paths),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )
        self.num_threads = as_count("num_threads", num_threads)
        self.num_processes = as_count("num_processes", num_processes, 0)
        self.image_size = image_size
        self.num_channels = num_channels
        self.paths = paths
        self.labels = labels
        self.class_names = class_names
        # With processes, a thread sends a request to one of them and waits for it.
        self._num_workers = self.num_processes or self.num_threads
        self._dtypes = {}  # dtype -> the first path that has it
        self._make_workers()

    def _make_workers(self):
        """Makes what reads; threads and processes start when they are needed."""
        self._threads = concurrent.futures.ThreadPoolExecutor(self._num_workers)
        self._idle_readers = queue.SimpleQueue()
        for _ in range(self.num_processes):
            self._idle_readers.put(ImageReader())
        self._batches = {}  # (epoch, index) -> future of the images

    def __getstate__(self):
        """Returns what a copy or a pickle holds: all but what reads."""
        return {k: value for k, value in vars(self).items() if k not in _UNCOPIED}

    def __setstate__(self, state):
        """Makes a copy, or what was pickled, able to read."""
        vars(self).update(state)
        self._make_workers()

    def load_batch(self, index):
        """Returns batch `index` of the current epoch: `(images,)` or with labels."""
        wanted = self._batches_from(index)
        # What was prepared for another epoch, or skipped, is let go.
        self._batches = {
            (epoch, batch): self._batches.get((epoch, batch))
            or self._threads.submit(self._read_all, self.batch_indices(batch, epoch))
            for epoch, batch in wanted
        }
        images = self._batches[wanted[0]].result()
        if self.labels is None:
            return (images,)
        return images, self.labels[self.batch_indices(index)]

    def load(self, indices=None):
        """Reads images into memory, for an evaluation.

        Args:
            indices: Optional integers, which images; by default all, in file order.

        Returns:
            Tuple `(images, labels)`: `(n, height, width, num_channels)` of the
            files' dtype and int32 `(n,)`, or `None` in place of the labels for a
            flat folder.
        """
        indices = np.arange(self.num_samples) if indices is None else indices
        indices = np.asarray(indices, dtype="int64")
        images = np.empty((0, *self.image_size, self.num_channels), "uint8")
        pixels = tqdm(
            self._threads.map(self._read_all, indices[:, None]),
            desc="Reading images",
            total=len(indices),
        )
        for row, image in enumerate(pixels):
            if row == 0:  # which tells the dtype
                images = np.empty((len(indices), *image.shape[1:]), image.dtype)
            images[row] = image[0]
        return images, None if self.labels is None else self.labels[indices]

    def split(self, fraction, seed=0):
        """Sets a random part of every class aside.

        Args:
            fraction: Float between 0 and 1, the share to hold out.
            seed: Non-negative integer that decides which images.

        Returns:
            Tuple `(train, held_out)` of two `ImageFolder`s without a common image.
            The held-out one hands out every image, in file order.
        """
        rng = np.random.default_rng(seed)
        labels = np.zeros(self.num_samples) if self.labels is None else self.labels
        held_out = np.zeros(self.num_samples, dtype=bool)
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            held_out[members[: round(fraction * len(members))]] = True
        if not 0 < fraction < 1 or held_out.all() or not held_out.any():
            raise ValueError(
                "`fraction` must be between 0 and 1 and leave images on both sides. "
                f"Received: {fraction} of {self.num_samples} images, "
                f"{held_out.sum()} of them held out"
            )
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
        subset = copy.copy(self)
        subset.paths = [self.paths[index] for index in np.flatnonzero(chosen)]
        subset.labels = None if self.labels is None else self.labels[chosen]
        subset.num_samples = len(subset.paths)
        subset.epoch = 0
        # The parts share the threads and the processes of the whole.
        subset._threads, subset._idle_readers = self._threads, self._idle_readers
        return subset

    def _batches_from(self, index):
        """Returns (epoch, index) of a batch and of those to prepare behind it."""
        numbers = range(index, index + 1 + self._num_workers)
        return [
            (self.epoch + number // len(self), number % len(self)) for number in numbers
        ]

    def _read_all(self, indices):
        """Returns images, `(n, height, width, num_channels)` of the files' dtype."""
        paths = [self.paths[index] for index in indices]
        if not self.num_processes:
            images, _ = read_images(paths, self.image_size, self.num_channels)
            images = np.stack([np.asarray(image) for image in images])
            images = images.reshape(len(paths), *self.image_size, self.num_channels)
        else:
            reader = self._idle_readers.get()
            try:
                images = reader.read(paths, self.image_size, self.num_channels)
            finally:
                self._idle_readers.put(reader)
        add_dtype(self._dtypes, images.dtype, paths[0])
        return images


def _find_images(folder):
    """Returns the paths, the labels or `None`, and the class names of a folder."""
    if not folder.is_dir():
        raise ValueError(f"`folder` must be an existing folder. Received: {folder}")
    flat = image_files(folder.iterdir())
    folders = sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."
    )
    by_class = [image_files(path.rglob("*")) for path in folders]
    if flat and any(by_class):
        raise ValueError(
            f"`folder` must hold image files or class folders, not both. {folder} has "
            f"{len(flat)} image files beside class folders: move them."
        )
    if flat:
        return flat, None, None
    paths = [path for paths in by_class for path in paths]
    if not paths:
        raise ValueError(
            f"`folder` must hold images. {folder} has no file ending in "
            f"{', '.join(SUFFIXES)}, nor has a folder in it."
        )
    labels = np.repeat(np.arange(len(folders)), [len(paths) for paths in by_class])
    return paths, labels.astype("int32"), [path.name for path in folders]
