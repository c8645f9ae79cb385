"""Images in a folder, as batches for `fit`."""

from typing import Literal

from keras_iwm.arguments import as_path
from keras_iwm.datasets.bad_files import BadFiles
from keras_iwm.datasets.checked_reader import CheckedReader
from keras_iwm.datasets.folder_dataset import FolderDataset
from keras_iwm.datasets.image_index import find_indexed_images
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, require_pillow
from keras_iwm.datasets.reader_pool import ReaderPool
from keras_iwm.type_aliases import Path, Size


class ImageFolder(FolderDataset):
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
        files = find_indexed_images(as_path("folder", folder), index, bad_files)
        account = BadFiles(bad_files, len(files[0]), skipped_csv)
        super().__init__(
            files,
            CheckedReader(files[0], pool, account),
            (*pool.image_size, pool.num_channels),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )

    def _read(self, indices, epoch=None):
        """Returns images, and which of them are good."""
        return self._reader.read([self.paths[index] for index in indices])
