"""Embeddings from a file."""

import json
import zipfile
from typing import Any

import numpy as np

from keras_iwm.arguments import as_path
from keras_iwm.datasets.require_pyarrow import require_pyarrow
from keras_iwm.saving.file_window import archive_member
from keras_iwm.type_aliases import Path


def load_embeddings(path: Path) -> dict[str, Any]:
    """Opens a file of embeddings that `embed_folder` has written.

    Of a `.npz` file the numbers stay on the disk until they are used, so it may be
    larger than memory. A Parquet file is read whole. Nothing of a file is run.

    Args:
        path: Path of the `.npz` or `.parquet` file.

    Returns:
        Dictionary:

        - `"names"`: array of strings `(num_images,)`, the files' names below the
          folder, with `/` between folders.
        - `"embeddings"`: read-only array `(num_images, hidden_dim)`, or of each patch
          `(num_images, num_patches, hidden_dim)`.
        - `"labels"`: int32 `(num_images,)`, or `None` for a flat folder.
        - `"class_names"`: list of strings, or `None`.
        - `"settings"`: dictionary of what they were made with.

    Raises:
        ValueError: If it is no such file.
        ImportError: If pyarrow is missing, for a `.parquet` file.

    Example:

    ```python
    import os, tempfile
    from PIL import Image

    folder = tempfile.mkdtemp()
    for number in range(4):
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(os.path.join(folder, f"{number}.png"))
    encoder = keras_iwm.backbones.ViTEncoder(32, 8, 48, 2, 3)
    output = os.path.join(tempfile.mkdtemp(), "embeddings.npz")
    keras_iwm.embeddings.embed_folder(encoder, folder, output)
    table = keras_iwm.embeddings.load_embeddings(output)
    table["names"], table["embeddings"].shape  # ["0.png", ...], (4, 48)
    ```
    """
    path = as_path("path", path)
    if path.suffix not in (".npz", ".parquet") or not path.is_file():
        raise ValueError(
            "`path` must be a .npz or .parquet file of embed_folder. Received: "
            f"{str(path)!r}."
        )
    if path.suffix == ".parquet":
        require_pyarrow()
    try:
        table = _open_npz(path) if path.suffix == ".npz" else _read_parquet(path)
    except Exception as error:  # whatever zipfile, NumPy and pyarrow make of rubbish
        raise ValueError(
            f"`path` must be a file of embed_folder. {path} is damaged or another "
            f"file: {error}."
        ) from error
    if len(table["names"]) != len(table["embeddings"]):
        raise ValueError(
            f"`path` must have one name for each row. {path} has "
            f"{len(table['names'])} for {len(table['embeddings'])}."
        )
    return table


def _open_npz(path):
    """Opens the arrays of a `.npz` file."""
    with np.load(path, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files if name != "embeddings"}
    return {
        "names": table["names"],
        "embeddings": _map_array(path, "embeddings.npy"),
        "labels": table.get("labels"),
        "class_names": table["class_names"].tolist() if "labels" in table else None,
        "settings": json.loads(str(table["settings"])),
    }


def _map_array(path, name):
    """Maps an array of an archive into memory, where it stands in the file."""
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its {name} is compressed")
        member = archive_member(file, archive, name)
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
        offset = member.start + member.tell()
        if dtype.kind != "f" or offset + dtype.itemsize * np.prod(shape) > (
            member.start + member.size
        ):
            raise ValueError(f"its {name} holds {dtype} of shape {shape}, cut off")
    return np.memmap(path, dtype, "r", offset, shape)


def _read_parquet(path):
    """Reads a Parquet file."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    settings = json.loads(table.schema.metadata[b"keras_iwm"])
    column, shape = table["embedding"].combine_chunks(), [len(table)]
    while hasattr(column.type, "list_size"):
        shape.append(column.type.list_size)
        column = column.flatten()
    classes = settings.pop("class_names")
    return {
        "names": np.array(table["name"].to_pylist()),
        "embeddings": column.to_numpy().reshape(shape),
        "labels": None if classes is None else table["label"].to_numpy(),
        "class_names": classes,
        "settings": settings,
    }
