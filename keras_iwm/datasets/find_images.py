"""Which image files, or clips, a folder holds, and what else lies there."""

import os
import warnings

import numpy as np

from keras_iwm.datasets.bad_files import check_policy
from keras_iwm.datasets.folder_walk import FolderWalk
from keras_iwm.datasets.image_paths import ImagePaths


def find_images(folder, bad_files, argument="folder", walk=FolderWalk):
    """Returns the image files of a folder, flat or with a folder for each class.

    Args:
        folder: Path of the folder.
        bad_files: `"skip"` or `"raise"`. What is left out is named in one warning; with
            `"raise"` it is an error if it was meant to be images.
        argument: String, the name of the argument that messages speak of.
        walk: `FolderWalk` or `ClipWalk`, for images or clips.

    Returns:
        Tuple `(paths, labels, class_names)`: `ImagePaths` in the order of the names,
        int32 `(num_files,)`, and a list; the last two are `None` for a flat folder.

    Raises:
        ValueError: If the folder does not exist or holds no images, if it holds images
            both beside and inside class folders, or if a class has pictures but none
            that is read.
    """
    check_policy(bad_files)
    names, class_counts, left_out, lost = list_images(folder, argument, walk)
    if left_out:
        message = f"Left out in {folder}: {describe(left_out)}."
        if lost and bad_files == "raise":
            raise ValueError(f"{message} Convert, repair or remove them.")
        warnings.warn(message, stacklevel=4)
    return as_paths(folder, names, class_counts)


def as_paths(folder, names, class_counts):
    """Returns what `find_images` does, from the two parts of a list of files."""
    paths = ImagePaths(folder, names)
    if class_counts is None:
        return paths, None, None
    counts = list(class_counts.values())
    labels = np.repeat(np.arange(len(counts), dtype="int32"), counts)
    return paths, labels, list(class_counts)


def list_images(folder, argument="folder", walk=FolderWalk):
    """Goes through a folder.

    Returns:
        Tuple `(names, class_counts, left_out, lost)`: the names as `ImagePaths` takes
        them; a dictionary from each class to its number of images, or `None` for a
        flat folder; a dictionary from the kinds of things that were left out to
        `(count, first name)`; the set of the kinds that were meant to be images.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"`{argument}` must be an existing folder. Received: {folder}")
    walk, names, class_counts = walk(folder), bytearray(), {}
    flat, folders = walk.top()
    lost_classes, empty_classes = [], []
    for name in folders:
        before, class_counts[name] = _num_lost(walk), 0
        for file in walk.files(name):
            if file == name:
                flat.append(name)  # a clip that is a folder of frames
            else:
                names += _encode(file)
                class_counts[name] += 1
        if not class_counts[name] and name not in flat[-1:]:
            is_lost = _num_lost(walk) > before
            (lost_classes if is_lost else empty_classes).append(name)
    if flat and any(class_counts.values()):
        raise ValueError(
            f"`{argument}` must hold {walk.kind} or class folders, not both. {folder} "
            f"has {len(flat)} {walk.kind} beside class folders, such as {flat[0]}: "
            "move them."
        )
    for name in sorted(flat):
        names += _encode(name)
    found = f" There are {describe(walk.left_out)}." if walk.left_out else ""
    if not names:
        raise ValueError(
            f"`{argument}` must hold {walk.kind}. {folder} has no file ending in "
            f"{', '.join(walk.suffixes)}, nor has a folder in it.{found}"
        )
    if lost_classes and not flat:
        raise ValueError(
            f"`{argument}` has {len(lost_classes)} classes with pictures of which none "
            f"can be listed, the first is {lost_classes[0]!r}.{found} Convert the "
            "files or mend the permissions, or move these classes away."
        )
    for name in lost_classes + empty_classes:
        walk.leave_out(f"folders without {walk.kind}", name)
    return names, None if flat else class_counts, walk.left_out, walk.lost


def describe(left_out):
    """Returns what was left out, in words."""
    return ", ".join(
        f"{count} {kind} (the first is {first})"
        for kind, (count, first) in sorted(left_out.items())
    )


def _num_lost(walk):
    """Returns how many things were left out that were meant to be images."""
    return sum(walk.left_out[kind][0] for kind in walk.lost)


def _encode(name):
    """Returns a name as `ImagePaths` keeps it."""
    return name.encode("utf-8", "surrogateescape") + b"\0"
