"""From a folder of images to tar shards."""

import functools
from typing import Any

from keras_iwm.arguments import as_count, as_path
from keras_iwm.datasets.folder_files import FolderFiles
from keras_iwm.datasets.read_image import require_pillow
from keras_iwm.datasets.write_shards import SHARD_SIZE, write_shards
from keras_iwm.type_aliases import Path


def pack_folder(
    folder: Path, output: Path, shard_size: int = SHARD_SIZE, seed: int = 0
) -> dict[str, Any]:
    """Packs the images of a folder into tar shards, for `ImageShards`.

    The files are copied as they are, in a random order, so that each shard is a sample
    of the whole: `images-000000.tar` and so on, as WebDataset reads them too, with a
    `.cls` file for each image if there is a folder for each class. The same folder,
    seed and size give the same bytes. Names stay, except that dots and percent signs
    before the suffix become `%2E` and `%25`, and files that differ only in their
    suffix are told apart, for WebDataset ends a name at its first dot.

    `images.index` says where each image lies, and `manifest.json` which shards there
    are, with their SHA-256. Every file is whole or not there, the manifest is finished
    last: whatever stops it, the same call goes on behind the last whole shard.
    `check_shards`, or `keras-iwm check`, verifies all of it later.

    Args:
        folder: Path of the folder, as `ImageFolder` takes it.
        output: Path of the folder of shards, made if missing.
        shard_size: Positive integer, the most bytes of a shard, unless one image takes
            more. Some 100 to 500 MB suit stores and networks.
        seed: Non-negative integer, of the order.

    Returns:
        The dictionary of `manifest.json`: `"num_images"`, `"size"` in bytes,
        `"class_names"` (a list or `None`), and `"shards"`, for each a dictionary of
        `"name"`, `"num_images"`, `"size"` and `"sha256"`.

    Raises:
        ValueError: If the folder cannot be listed, as `ImageFolder` says, if a file
            has more than a gigabyte or changes meanwhile, or if `output` holds
            finished or other shards.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import pack_folder

    folder, output = tempfile.mkdtemp(), tempfile.mkdtemp()
    for i in range(16):
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(os.path.join(folder, f"{i}.png"))
    manifest = pack_folder(folder, output, shard_size=50_000)
    [shard["name"] for shard in manifest["shards"]]  # ["images-000000.tar", ...]
    ```
    """
    require_pillow()
    folder, output = as_path("folder", folder), as_path("output", output)
    shard_size = as_count("shard_size", shard_size)
    seed = as_count("seed", seed, 0)
    find = functools.partial(FolderFiles, folder)
    return write_shards(find, output, shard_size, seed)
