"""Images and labels from a folder, shards or an `.npz` file."""

from typing import Literal

import numpy as np

from keras_iwm.arguments import as_count, as_optional, as_path, as_size
from keras_iwm.datasets.image_array import check_images
from keras_iwm.datasets.open_images import open_images
from keras_iwm.datasets.open_store import is_url
from keras_iwm.datasets.read_image import fit_image, require_pillow
from keras_iwm.type_aliases import Path, Size

_IMAGE_KEYS = ("images", "x", "x_train")
_LABEL_KEYS = ("labels", "y", "y_train")


def load_images(
    path: Path,
    image_size: Size | None = None,
    limit: int | None = None,
    seed: int | None = None,
    num_channels: int = 3,
    bad_files: Literal["skip", "raise"] = "skip",
    skipped_csv: Path | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads images, and labels if there are any, into memory.

    Args:
        path: Path of a folder of images, flat or with one folder for each class; of a
            folder of shards, or its URL, as `ImageShards` takes it; or of a file made
            by `np.savez` or `np.savez_compressed`, with the images under `images`, `x`
            or `x_train`, and optionally the labels under `labels`, `y` or `y_train`.
        image_size: Integer or pair `(height, width)`, optional for an `.npz` file:
            images of another size are resized until the shorter side fits, and
            centre-cropped.
        limit: Optional integer, the most images to read.
        seed: Optional integer: the images come in a random order drawn from it,
            instead of their stored one, and a `limit` picks images at random.
        num_channels: Positive integer: 1 for grey, 3 for RGB, 4 for RGBA or four
            bands, any other number for bands. The images of an `.npz` file must have
            so many; grey ones may lack the last axis.
        bad_files: `"skip"` to leave out image files that cannot be used, with a
            warning, or `"raise"` for a ValueError, as in `ImageFolder`.
        skipped_csv: Optional path of a file that lists them, as in `ImageFolder`.

    Returns:
        Tuple `(images, labels)`: `(n, height, width, num_channels)` and an array
        `(n,)` or `None`. The images keep the dtype and the range of their files, as
        `ImageFolder` says: uint8 from 0 to 255 for pictures of 8 bits.

    Raises:
        ValueError: If there is no such folder or `.npz` file, if the file lacks the
            images (the message lists the keys it has), if an array has a wrong
            shape, or if there are bad files, or too many.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from keras_iwm.datasets import load_images

    path = os.path.join(tempfile.mkdtemp(), "images.npz")
    np.savez(path, images=np.zeros((4, 40, 48, 3), "uint8"), labels=np.arange(4))
    images, labels = load_images(path, image_size=32)
    images.shape  # (4, 32, 32, 3)
    ```
    """
    path = path if is_url(path) else as_path("path", path)
    limit = as_optional(as_count, "limit", limit)
    seed = as_optional(as_count, "seed", seed, 0)
    num_channels = as_count("num_channels", num_channels)
    if image_size is not None:
        image_size = as_size("image_size", image_size)
    if is_url(path) or path.is_dir():
        if image_size is None:
            raise ValueError("A folder needs an `image_size`, such as 224.")
        folder = open_images(
            path,
            image_size,
            batch_size=1,
            num_channels=num_channels,
            bad_files=bad_files,
            skipped_csv=skipped_csv,
        )
        return folder.load(_choose(folder.num_samples, limit, seed))
    if path.suffix != ".npz" or not path.is_file():
        raise ValueError(
            "`path` must be an existing folder or an existing .npz file. Received: "
            f"{path}"
        )
    images, labels = _load_arrays(path, num_channels)
    chosen = _choose(len(images), limit, seed)
    images, labels = images[chosen], None if labels is None else labels[chosen]
    if image_size is not None and images.shape[1:3] != image_size:
        require_pillow()
        images = np.stack([fit_image(image, image_size) for image in images])
    return images, labels


def _choose(count, limit, seed):
    """Returns the indices of the images to read, in their order."""
    order = np.arange(count)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(count)
    return order[:limit]


def _load_arrays(path, num_channels):
    """Returns the images and labels of an `.npz` file."""
    # Unpickling could run code that a stranger put into the file.
    with np.load(path, allow_pickle=False) as arrays:
        image_key = next((key for key in _IMAGE_KEYS if key in arrays.files), None)
        label_key = next((key for key in _LABEL_KEYS if key in arrays.files), None)
        if image_key is None:
            raise ValueError(
                f"{path} must hold its images under one of the keys "
                f"{', '.join(_IMAGE_KEYS)}. It has: {', '.join(arrays.files)}"
            )
        try:
            images = arrays[image_key]
            labels = None if label_key is None else arrays[label_key]
        except ValueError as error:
            raise ValueError(f"{path} holds no plain arrays ({error}).") from error
    images = check_images(images, num_channels, name=image_key)
    if labels is not None:
        labels = labels.squeeze(-1) if labels.shape[1:] == (1,) else labels
        if labels.shape != (len(images),):
            raise ValueError(
                f"`{label_key}` in {path} must have one entry for each of the "
                f"{len(images)} images. Received: shape {labels.shape}"
            )
    return images, labels
