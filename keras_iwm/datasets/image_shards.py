"""Images in shards, as batches for `fit`."""

from typing import Literal

import numpy as np

from keras_iwm.arguments import as_count
from keras_iwm.datasets.bad_files import BadFiles
from keras_iwm.datasets.checked_reader import CheckedReader
from keras_iwm.datasets.find_shards import find_shards
from keras_iwm.datasets.folder_dataset import FolderDataset
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, require_pillow
from keras_iwm.datasets.reader_pool import ReaderPool
from keras_iwm.datasets.shard_order import shard_order
from keras_iwm.type_aliases import Path, Size


class ImageShards(FolderDataset):
    """Batches of the images in tar shards, in a folder or in a store.

    The shards are tar files as WebDataset has them, in a folder or behind a URL that
    fsspec reads (`"s3://bucket/photos"`, needs fsspec and the store's package): few
    and large, where a store or a disk would be slow at many small files.
    `pack_folder`, or `keras-iwm pack`, makes them of a folder of images. Files of one
    name up to its first dot are a sample: of each sample the image is read, and the
    integer in a `.cls` file is its label, if all images have one. Images become what
    `ImageFolder` makes of files: same pixels, dtypes, and meaning of `num_channels`.

    **Order.** It is a pure function of `(seed, epoch)` and visits one shard after the
    other: shards come in a random order, cut into `num_streams` equal parts. Within
    a part, images change places with others that are up to `shuffle_buffer` away, and
    the parts take turns, an image each. Nothing is held in memory for that, for it is
    known where each image lies. So a run resumes at any step at once, as with
    `ImageFolder`, and each image comes once in an epoch.

    **Several hosts.** With `share = (rank, num_processes)` a process reads its rows of
    every batch, and if the number of processes divides `num_streams`, and that the
    batch size, these come from `num_streams / num_processes` parts of the shards that
    no other process reads. The batches are the same for any number of processes.

    **Where images lie** is in the index that `pack_folder` has made. Of others' tars
    the headers are read at first, for which a store sends nearly all of them: `index`
    keeps what was found. Nothing is extracted; links, names that lead outside, and
    sizes that cannot be are refused. Compressed tars are not read.

    **Bad images** cannot be decoded, or their shard is missing, cut off or holds
    something else in their place. They are replaced and listed as `ImageFolder` does
    with bad files.

    A batch's images are fetched together. For a store behind a network, more threads
    keep more batches on their way; `"filecache::s3://bucket/photos"` lets fsspec keep
    the shards on the own disk.

    Args:
        shards: Path of a folder of tar files, or a URL.
        image_size: Integer or pair `(height, width)`, of the images handed out.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order of its own. With `False`
            the images come as they are stored.
        seed: Non-negative integer from which the orders are drawn.
        drop_remainder: Boolean, whether to leave out the images that do not fill a
            last batch.
        num_threads: Positive integer, threads that fetch and decode; as many batches
            are prepared ahead.
        num_processes: Non-negative integer, processes that decode in their place.
        num_channels: Positive integer: 1 for grey, 3 for RGB, 4 for RGBA or four
            bands, any other number for bands.
        bad_files: `"skip"`, or `"raise"` for a ValueError, also where a shard is
            missing or changed, or holds images that are not read.
        skipped_csv: Optional path of a file to which a line `path,reason` is added
            for each bad image, once also if a run is resumed.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer. Images with more are bad, before memory is taken
            for them.
        index: Optional path of a file that keeps where the images lie, for shards
            without an index of their own; it is made if missing.
        num_streams: Positive integer, the shards that are read side by side, at most
            as many as there are: a multiple of the number of processes that share the
            batches.
        shuffle_buffer: Positive integer: by less than so many places an image is
            moved in its stream. More mix better, and fewer are read from parts of
            the shards that lie closer together.

    Returns:
        Each batch is `(images,)`, or `(images, labels)` if there are labels:
        `(batch_size, height, width, num_channels)` of the files' dtype and int32
        `(batch_size,)`.

    Raises:
        ImportError: If it is a URL and fsspec is not installed.
        ValueError: If there are no shards, no images in them, or if a manifest or
            index is damaged; later, if there are bad images, or too many.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import ImageShards, pack_folder

    folder, shards = tempfile.mkdtemp(), os.path.join(tempfile.mkdtemp(), "shards")
    for i in range(16):
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(os.path.join(folder, f"{i}.png"))
    pack_folder(folder, shards, shard_size=20_000)

    dataset = ImageShards(shards, image_size=32, batch_size=4)
    (images,) = dataset[0]  # (4, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        shards: Path,
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
        num_streams: int = 8,
        shuffle_buffer: int = 10_000,
    ) -> None:
        require_pillow()
        pool = ReaderPool(
            image_size, num_channels, background, max_pixels, num_threads, num_processes
        )
        self.num_streams = as_count("num_streams", num_streams, 1, 2**16)
        self.shuffle_buffer = as_count("shuffle_buffer", shuffle_buffer)
        files = find_shards(shards, index, bad_files)
        account = BadFiles(bad_files, len(files[0]), skipped_csv, "images")
        super().__init__(
            files,
            CheckedReader(files[0], pool, account),
            (*pool.image_size, pool.num_channels),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )

    def order(self, epoch: int) -> np.ndarray:
        """Returns the sample indices of one epoch, int64 `(num_samples,)`."""
        if not self.shuffle:
            return np.arange(self.num_samples)
        num_streams = min(self.num_streams, self.paths.shards.max(initial=0) + 1)
        order = shard_order(
            self.paths.shards, num_streams, self.shuffle_buffer, [self.seed, epoch]
        )
        # In a batch one stream stands behind the other, as processes share it out in
        # pieces: each has shards of its own.
        places = np.arange(len(order))
        return order[np.lexsort((places % num_streams, places // self.batch_size))]

    def _read(self, indices, epoch=None):
        """Returns images, and which of them are good."""
        return self._reader.read(self.paths.read(indices))
