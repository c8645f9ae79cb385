"""A look at a model file before anything in it is believed."""

import json
import math
import stat
import zipfile

from keras_iwm.arguments import as_path
from keras_iwm.saving.check_config import check_config
from keras_iwm.saving.check_weights import check_weights
from keras_iwm.saving.file_window import archive_member
from keras_iwm.saving.load_shards import check_shards
from keras_iwm.saving.shard_folder import ShardFolder
from keras_iwm.type_aliases import Path

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
RUN = ("run.json", "run.npz")  # what `RunCheckpoint` adds; Keras does not look at it
LARGEST_CONFIG = 2**24  # bytes; that of a ViT-H with an optimizer has a few thousand


def check_file(path: Path) -> None:
    """Refuse a model file that is damaged, or that does more than hold a model.

    Nothing of the file is run, and nothing that it declares is made: what is read at
    once is no larger than one weight that is really there. Keras refuses some of this
    too, as it comes to it. Refused are

    - what is no file of Keras, has another checksum, or is cut off;
    - in a `.keras`, anything beside `config.json`, `metadata.json`,
      `model.weights.h5` and what `RunCheckpoint` adds (such as pickles and paths that
      lead out of it), links, compressed and encrypted members, and members that
      overlap;
    - functions and classes that are neither Keras's for models, nor registered here,
      and layers that hold code: `Lambda`, wrapped modules, SavedModels;
    - a model of more weights than the file holds, as far as its encoders, predictors
      and widths tell;
    - weights that refer to other files or places, are compressed, are no numbers or
      not finite.

    A folder of shards is looked at in the same way: checksums, config, values.

    Files that `model.save` and `model.save_weights` write pass. Classes of one's own
    must be imported before, and registered with
    `keras.saving.register_keras_serializable`.

    Args:
        path: Path of a `.keras` or a `.weights.h5` file, or of a folder of shards.

    Raises:
        ValueError: If the file is refused. The message names the file, and why.

    Example:

    ```python
    import os, tempfile

    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    model.save(path)
    keras_iwm.saving.check_file(path)
    ```
    """
    path = as_path("path", path)
    if not path.exists():
        raise ValueError(f"`path` must be a file. Received: {str(path)!r}.")
    if path.is_file() and not path.name.endswith((".keras", ".weights.h5")):
        raise ValueError(
            "`path` must end in .keras or .weights.h5, as Keras writes models and "
            f"weights. Received: {str(path)!r}."
        )
    try:
        if path.is_dir():
            check_shards(ShardFolder(path))
            return
        with open(path, "rb") as file:
            if path.suffix == ".keras":
                _check_archive(file)
            else:
                check_weights(file)
    except ValueError as refusal:
        raise ValueError(f"{path} is refused: {refusal}") from None
    except Exception as error:  # whatever zipfile and h5py make of rubbish
        raise ValueError(
            f"{path} is damaged: {error}. Get or copy it again; of a run's checkpoints "
            "use the one before it."
        ) from error


def _check_archive(file):
    """Check a `.keras` file: its members, then config and weights."""
    with zipfile.ZipFile(file) as archive:
        _check_members(archive, file.seek(0, 2))
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is another")
        config = archive.read(CONFIG)
        shapes = check_weights(archive_member(file, archive, WEIGHTS))
    check_config(as_config(config), sum(map(math.prod, shapes.values())))


def as_config(text, name=CONFIG):
    """What a file of JSON called `name` says."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"its {name} is no config: {error}.") from None


def _check_members(archive, file_size):
    """Check what a `.keras` file consists of, by its table of contents."""
    names = archive.namelist()
    for name in names:
        if name not in (CONFIG, METADATA, WEIGHTS, *RUN) or names.count(name) > 1:
            raise ValueError(
                f"it holds {name!r}, where Keras writes one each of {CONFIG}, "
                f"{METADATA} and {WEIGHTS}."
            )
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise ValueError(f"it holds no {name}. It is no model, or cut off.")
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"its {member.filename} is a link, or no file.")
        if member.flag_bits & 1:
            raise ValueError(f"its {member.filename} is encrypted.")
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.file_size != member.compress_size:
            raise ValueError(
                f"its {member.filename} is compressed: {member.file_size} bytes in "
                f"{member.compress_size}. Keras compresses nothing, so that no small "
                "file takes much memory. Save it again with model.save."
            )
    size = sum(member.file_size for member in archive.infolist())
    if size > file_size:
        raise ValueError(
            f"its members have {size} bytes together, the file has {file_size}: they "
            "overlap, or it is cut off."
        )
    if archive.getinfo(CONFIG).file_size > LARGEST_CONFIG:
        raise ValueError(
            f"its {CONFIG} has {archive.getinfo(CONFIG).file_size} bytes, of a model "
            f"at most {LARGEST_CONFIG}."
        )
