"""Images and the classes of their pixels, from two folders."""

import collections
import concurrent.futures
import os
from typing import Literal

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_count, as_path, as_size
from keras_iwm.datasets.bad_files import BadFiles
from keras_iwm.datasets.decode_image import open_image
from keras_iwm.datasets.find_images import find_images
from keras_iwm.datasets.read_image import (
    describe_dtype,
    fit_image,
    load_image,
    require_pillow,
)
from keras_iwm.type_aliases import Path, Size


def load_segmentation(
    image_folder: Path,
    mask_folder: Path,
    image_size: Size,
    num_threads: int = 4,
    num_channels: int = 3,
    bad_files: Literal["skip", "raise"] = "raise",
    skipped_csv: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and their masks, whose pixels are numbers of classes.

    The mask of `scene.jpg` is `scene.png` in the other folder: a grey or palette PNG,
    as large as its image. Both are resized until the shorter side fits, and
    centre-cropped: images as smooth colours, masks by nearest neighbours.

    Args:
        image_folder: Path of the folder with the image files.
        mask_folder: Path of the folder with the masks. Those without an image are
            left out.
        image_size: Integer or pair `(height, width)`, of the arrays.
        num_threads: Positive integer, threads that decode.
        num_channels: Positive integer, of the images: 1 for grey, 3 for RGB, 4 for
            RGBA or four bands, any other number for bands.
        bad_files: `"raise"` for a ValueError, or `"skip"` to leave out images of which
            the file or the mask cannot be used, with a warning, as in `ImageFolder`.
        skipped_csv: Optional path of a file that lists them, as in `ImageFolder`.

    Returns:
        Tuple `(images, masks)` in the order of the files' names:
        `(num_images, height, width, num_channels)`, with the dtype and the range of
        their files as `ImageFolder` says (uint8 from 0 to 255 for pictures of 8
        bits), and integers `(num_images, height, width)`, uint8, or int32 if a mask
        has more than 8 bits.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If a folder or a mask is missing, or if two images have the same
            name. If there are bad files, or too many: a file that cannot be read, a
            mask of another size than its image or in colour, an image of another
            dtype than the first.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import load_segmentation

    folder = tempfile.mkdtemp()
    for name, shape in (("images", (40, 60, 3)), ("masks", (40, 60))):
        os.mkdir(os.path.join(folder, name))
        for i in range(2):
            pixels = np.random.randint(0, 5, shape, dtype="uint8")
            Image.fromarray(pixels).save(os.path.join(folder, name, f"{i}.png"))

    images, masks = load_segmentation(
        os.path.join(folder, "images"), os.path.join(folder, "masks"), (32, 48)
    )
    images.shape, masks.shape  # (2, 32, 48, 3), (2, 32, 48)
    ```
    """
    require_pillow()
    image_size = as_size("image_size", image_size)
    num_channels = as_count("num_channels", num_channels)
    account = BadFiles(bad_files, 0, skipped_csv)
    num_threads = as_count("num_threads", num_threads, 1, 1024)
    pairs = _find_pairs(
        as_path("image_folder", image_folder),
        as_path("mask_folder", mask_folder),
        bad_files,
    )
    account.num_files = len(pairs)
    images, masks = [], []
    with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
        read = threads.map(
            lambda pair: _read_pair(*pair, image_size, num_channels), pairs
        )
        read = tqdm(read, desc="Reading images and masks", total=len(pairs))
        for (path, _), (image, mask, message) in zip(pairs, read, strict=True):
            if message is None and images and image.dtype != images[0].dtype:
                message = describe_dtype(path, image.dtype, images[0].dtype)
            if message is not None:
                account.note(path, message)
                continue
            images.append(image)
            masks.append(mask)
    account.warn("left out", at_once=True)
    if not images:
        raise ValueError(f"Not one of the image files can be used. {message}")
    return np.stack(images), np.stack(masks)


def _find_pairs(image_folder, mask_folder, bad_files):
    """Returns the paths of each image and its mask."""
    for name, folder in (("image", image_folder), ("mask", mask_folder)):
        if not os.path.isdir(folder):
            raise ValueError(
                f"`{name}_folder` must be an existing folder. Received: {folder}"
            )
    paths, labels, _ = find_images(image_folder, bad_files, "image_folder")
    if labels is not None:
        raise ValueError(
            f"`image_folder` must hold images. {image_folder} has none, but folders."
        )
    stems = [path.stem for path in paths]
    stem, count = collections.Counter(stems).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"`image_folder` has several images named {stem}, which would share a "
            "mask. Remove all but one."
        )
    masks = {
        path.stem: path
        for path in mask_folder.iterdir()
        if path.suffix.lower() == ".png"
    }
    missing = [stem for stem in stems if stem not in masks]
    if missing:
        raise ValueError(
            f"`mask_folder` must hold a PNG for each image. {len(missing)} of "
            f"{len(stems)} are missing in {mask_folder}, the first is {missing[0]}.png."
        )
    return [(path, masks[path.stem]) for path in paths]


def _read_pair(image_path, mask_path, image_size, num_channels):
    """Returns the arrays of an image and its mask, and why they cannot be used."""
    try:
        return *_read_arrays(image_path, mask_path, image_size, num_channels), None
    except ValueError as error:
        return None, None, str(error)


def _read_arrays(image_path, mask_path, image_size, num_channels):
    """Returns the arrays of an image and its mask."""
    from PIL import Image, ImageOps

    image = load_image(image_path, num_channels)
    pixels = np.asarray(fit_image(image, image_size)).reshape(*image_size, num_channels)
    size = np.shape(image)[1::-1]
    try:
        with open_image(mask_path) as mask:
            # Another size may be larger than memory.
            if mask.size == size:
                mask.load()
    except Exception as error:  # Pillow raises many kinds for a broken file.
        raise ValueError(
            f"The mask {mask_path} could not be read ({error}). Repair it."
        ) from error
    if mask.size != size:
        raise ValueError(
            f"A mask must be as large as its image. Received: {mask_path} with (width, "
            f"height) {mask.size} for {image_path} with {size}."
        )
    if mask.mode not in ("1", "L", "P") and not mask.mode.startswith("I"):
        raise ValueError(
            "A mask must be a grey or palette PNG whose values are classes. Received: "
            f"{mask_path} of mode {mask.mode}. Turn its colours into numbers first."
        )
    height, width = image_size
    mask = ImageOps.fit(mask, (width, height), method=Image.Resampling.NEAREST)
    return pixels, np.asarray(mask).astype("int32" if mask.mode[0] == "I" else "uint8")
