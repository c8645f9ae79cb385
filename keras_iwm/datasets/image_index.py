"""The list of a folder's images or clips in a file, so that it is made once."""

import hashlib
import json
import os
import re

import numpy as np

from keras_iwm.arguments import as_optional, as_path
from keras_iwm.datasets.find_images import as_paths, find_images
from keras_iwm.datasets.folder_walk import FolderWalk
from keras_iwm.datasets.shared_file import write_shared_file

_FORMAT = "keras_iwm index of {} 1"
# A part of a name that would lead out of the folder, or that is never listed.
_OUTSIDE = re.compile(rb"(?:^|[\0/])[./\0]" + (rb"|[:\\]" if os.name == "nt" else rb""))
_NUM_LOOKED_FOR = 10


def find_indexed_images(folder, index, bad_files, walk=FolderWalk):
    """Returns what `find_images` does, from the file `index` if it exists.

    If it does not, it is written; `None` is for no such file.
    """
    index = as_optional(as_path, "index", index)
    if index is not None and os.path.exists(index):
        return read_index(index, folder, walk.kind)
    found = find_images(folder, bad_files, walk=walk)
    if index is not None:
        write_index(index, walk.kind, *found)
    return found


def write_index(path, kind, paths, labels, class_names):
    """Writes a list of files; the file is whole or not there.

    The first line is JSON: what the file is, a checksum, and the classes with their
    numbers of images. The names follow, as `ImagePaths` keeps them.

    Args:
        path: Path of the index file; its folder is made.
        kind: String, what it is an index of.
        paths: `ImagePaths`.
        labels: Rising integers `(num_files,)`, or `None`.
        class_names: List of strings, or `None`.
    """
    names = paths.names()
    counts = None
    if labels is not None:
        number = np.bincount(labels, minlength=len(class_names)).tolist()
        counts = dict(zip(class_names, number, strict=True))
    header = {
        "format": _FORMAT.format(kind),
        "sha256": _checksum(counts, names),
        "classes": counts,
    }
    write_shared_file(path, json.dumps(header).encode() + b"\n" + names)


def read_index(path, folder, kind):
    """Returns what `find_images` does, from a file that `write_index` wrote.

    Raises:
        ValueError: If the file is damaged, or is the index of another folder.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"`folder` must be an existing folder. Received: {folder}")
    with open(path, "rb") as file:
        header, _, names = file.read().partition(b"\n")
    try:
        header = json.loads(header)
        counts = header["classes"]
        valid = (
            header["format"] == _FORMAT.format(kind)
            and header["sha256"] == _checksum(counts, names)
            and names[-1:] == b"\0"
            and not _OUTSIDE.search(names[:-1])
            and (counts is None or sum(counts.values()) == names.count(b"\0"))
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise ValueError(
            f"`index` must be a list of {kind}, written by an earlier run. {path} is "
            "damaged or another file: delete it, and it is made anew."
        )
    paths, labels, class_names = as_paths(folder, names, counts)
    some = np.linspace(0, len(paths) - 1, _NUM_LOOKED_FOR).astype(int)
    if not any(paths[number].exists() for number in some):
        raise ValueError(
            f"`index` must list the files of `folder`. Of {path} none was found in "
            f"{folder}, such as {paths.name(0)}: delete it, or name another folder."
        )
    return paths, labels, class_names


def _checksum(counts, names):
    """Returns what changes if a byte of the list does."""
    return hashlib.sha256(json.dumps(counts).encode() + names).hexdigest()
