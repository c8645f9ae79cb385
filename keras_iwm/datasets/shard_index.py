"""The list of the images in shards, in a file, so that they are read through once."""

import hashlib
import json

import numpy as np

from keras_iwm.datasets.shard_records import ShardRecords
from keras_iwm.datasets.tar_members import BLOCK, MAX_SIZE, is_outside

# Classes that a stranger's number must not make more of.
MAX_LABELS = 2**20
_FORMAT = "keras_iwm index of shards 1"
_COLUMNS = (
    ("shards", "<i4"),
    ("offsets", "<i8"),
    ("lengths", "<i8"),
    ("labels", "<i4"),
)


def index_content(records, labels):
    """Returns the bytes of the file of an index, the same on every system.

    The first line is JSON: what the file is, a checksum of the rest, the names of the
    shards and their bytes. Then come a column behind the other, and the names as
    `ImagePaths` keeps them.

    Args:
        records: `ShardRecords`.
        labels: int32 `(num_images,)` or `None`.
    """
    columns = {**vars(records), "labels": labels}
    body = b"".join(
        columns[name].astype(dtype).tobytes()
        for name, dtype in _COLUMNS
        if columns[name] is not None
    )
    body += records.names()
    header = {
        "format": _FORMAT,
        "sha256": hashlib.sha256(body).hexdigest(),
        "num_images": len(records),
        "has_labels": labels is not None,
        "shards": records.sizes,
    }
    return json.dumps(header).encode() + b"\n" + body


def read_index_content(content, store):
    """Returns `ShardRecords` and their labels or `None`.

    Args:
        content: Bytes that `index_content` has made, or anyone's.
        store: `LocalStore` or `RemoteStore`, where the shards lie.

    Raises:
        ValueError: If it is none, or damaged, or says what cannot be.
    """
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
        sizes, count = header["shards"], header["num_images"]
        valid = (
            header["format"] == _FORMAT
            and header["sha256"] == hashlib.sha256(body).hexdigest()
            and all(is_shard_name(name) for name in sizes)
            and all(type(size) is int and size >= 0 for size in sizes.values())
        )
        columns, place = {"labels": None}, 0
        for name, dtype in _COLUMNS[: None if header["has_labels"] else -1]:
            columns[name] = np.frombuffer(body, dtype, count, place)
            place += columns[name].nbytes
        names = body[place:]
        valid = valid and _is_possible(list(sizes.values()), columns, names)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        valid = False
    if not valid:
        raise ValueError("it is damaged, or not a list of the images in shards")
    columns = {name: _native(column) for name, column in columns.items()}
    labels = columns.pop("labels")
    return ShardRecords(store, sizes, names, **columns), labels


def is_shard_name(name):
    """Whether this is the name of a tar file, and of none outside of its folder."""
    plain = not is_outside(name) and "/" not in name and name[0] != "."
    return plain and name.lower().endswith(".tar")


def _is_possible(sizes, columns, names):
    """Whether all images lie within their shards, and have names."""
    shards, lengths = columns["shards"], columns["lengths"]
    starts = columns["offsets"]
    if names.count(b"\0") != len(shards) or names[-1:] not in (b"", b"\0"):
        return False
    if len(shards) == 0:
        return not names
    inside = shards[0] >= 0 and shards[-1] < len(sizes) and (np.diff(shards) >= 0).all()
    labels = columns["labels"]
    if labels is not None:
        inside = inside and labels.min() >= 0 and labels.max() < MAX_LABELS
    if not inside:
        return False
    room = np.array(sizes)[shards] - starts
    return bool(
        (starts >= BLOCK).all()
        and (lengths >= 0).all()
        and (lengths <= np.minimum(room, MAX_SIZE)).all()
    )


def _native(column):
    """Returns a column in the machine's order of bytes."""
    return None if column is None else column.astype(column.dtype.newbyteorder("="))
