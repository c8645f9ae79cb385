"""From Parquet files with images to tar shards."""

import functools
from typing import Any

from keras_iwm.arguments import as_count, as_path
from keras_iwm.datasets.read_image import require_pillow
from keras_iwm.datasets.require_pyarrow import require_pyarrow
from keras_iwm.datasets.write_shards import SHARD_SIZE, write_shards
from keras_iwm.type_aliases import Path


def pack_parquet(
    parquet: Path,
    output: Path,
    shard_size: int = SHARD_SIZE,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, Any]:
    """Packs the images in Parquet files into tar shards, for `ImageShards`.

    Parquet is how the Hugging Face Hub keeps data sets of images. It holds them in
    compressed groups of rows, in which no image can be found by itself; in tar shards
    each can, so that a run mixes them well and resumes at any step. What is packed,
    and what happens if packing is stopped, is as `pack_folder` says. An image is named
    after its file and its row there.

    Row groups come in a random order, and images change places within 256 MB of them,
    which are held in memory. Rows without an image are left out, and named in a
    warning. Labels count if each image has one that is not negative, and classes are
    called what the Hub's notes in the files say.

    Args:
        parquet: Path of a file, or of a folder of files that end in `.parquet`, all
            of one schema.
        output: Path of the folder of shards, made if missing.
        shard_size: Positive integer, the most bytes of a shard, see `pack_folder`.
        seed: Non-negative integer, of the order.
        image_column: Optional string, the column of images: the bytes of files, or
            structures that have them as `bytes`. By default the only such column.
        label_column: Optional string, a column of integers. By default `"label"` or
            `"labels"`, if there is one.

    Returns:
        The dictionary of `manifest.json`, see `pack_folder`.

    Raises:
        ImportError: If pyarrow or Pillow is not installed.
        ValueError: If there are no such files or columns, no images, or if `output`
            holds finished or other shards.

    Example:

    ```python
    import io, os, tempfile
    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet
    from keras_iwm.datasets import ImageShards, pack_parquet

    folder, shards = tempfile.mkdtemp(), tempfile.mkdtemp()
    rows = []
    for i in range(16):
        file = io.BytesIO()
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue()}, "label": i % 2})
    parquet.write_table(pa.Table.from_pylist(rows), os.path.join(folder, "a.parquet"))

    pack_parquet(folder, shards)
    images, labels = ImageShards(shards, 32, batch_size=4)[0]  # (4, 32, 32, 3), (4,)
    ```
    """
    require_pillow()
    require_pyarrow()
    # It needs both.
    from keras_iwm.datasets.parquet_images import ParquetImages

    parquet, output = as_path("parquet", parquet), as_path("output", output)
    shard_size = as_count("shard_size", shard_size)
    seed = as_count("seed", seed, 0)
    for name, column in (("image", image_column), ("label", label_column)):
        if column is not None and not isinstance(column, str):
            raise ValueError(
                f"`{name}_column` must be the name of a column or `None`. Received: "
                f"{column!r}"
            )
    files = find_parquet(parquet)
    find = functools.partial(ParquetImages, files, image_column, label_column)
    return write_shards(find, output, shard_size, seed)


def find_parquet(path):
    """Returns a file, or the Parquet files of a folder in the order of their names."""
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.parquet")) if path.is_dir() else []
    if not files:
        raise ValueError(
            "`parquet` must be a Parquet file, or a folder of files that end in "
            f".parquet. Received: {path}"
        )
    return files
