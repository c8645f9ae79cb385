"""Which image files a folder holds, and what else lies there."""

import os
import pathlib
import warnings

import numpy as np

from keras_iwm.datasets.bad_files import check_policy
from keras_iwm.datasets.decode_image import image_suffixes
from keras_iwm.datasets.image_paths import ImagePaths

# Folders that systems and archivers make: small pictures, or the insides of files.
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")
# Pictures, going by their names, that are not read.
_OTHER_PICTURES = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".eps", ".exr", ".hdr"),
    *(".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".npz", ".orf"),
    *(".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg"),
    *(".tga", ".xcf"),
)
_UNREADABLE = "folders that may not be read"
_REPEATED = "links to what is listed elsewhere"
_HIDDEN = "hidden files and folders"


class _Walk:
    """Goes through a folder and keeps account of what is left out.

    `left_out` holds for each kind of thing how many there were and the first name,
    `lost` the kinds among them that were meant to be images.
    """

    def __init__(self, folder):
        self.folder = str(folder)
        self.root = os.path.realpath(folder)
        self.suffixes = image_suffixes()
        self.left_out = {}
        self.lost = set()
        self._folders = {_identity(os.stat(folder))}  # each is entered once
        self._targets = set()  # of links

    def leave_out(self, kind, name, lost=False):
        """Notes that a file or folder was left out."""
        count, first = self.left_out.get(kind, (0, name))
        # Systems show a folder in any order.
        self.left_out[kind] = count + 1, min(first, name)
        if lost:
            self.lost.add(kind)

    def entries(self, name=""):
        """Returns what a folder shows: [(name, whether it is a folder)], sorted."""
        found = []
        try:
            with os.scandir(os.path.join(self.folder, name)) as entries:
                for entry in entries:
                    kind = self._kind(
                        entry, f"{name}/{entry.name}" if name else entry.name
                    )
                    if kind is not None:
                        found.append((entry.name, kind == "folder"))
        except OSError:
            self.leave_out(_UNREADABLE, name or ".", lost=True)
        return sorted(found)

    def images(self, name):
        """Yields the names of the images in a folder and those in it, in order.

        The order is that of the names, one folder after the other.
        """
        levels = [(name, iter(self.entries(name)))]
        while levels:
            above, entries = levels[-1]
            entry, is_folder = next(entries, (None, False))
            if entry is None:
                levels.pop()
            elif is_folder:
                below = f"{above}/{entry}"
                levels.append((below, iter(self.entries(below))))
            else:
                yield f"{above}/{entry}"

    def _kind(self, entry, name):
        """Returns "file" for an image, "folder", or `None` for what is left out."""
        if entry.name[0] == ".":
            return self.leave_out(_HIDDEN, name)
        if entry.name in _SYSTEM_FOLDERS:
            return self.leave_out("folders of a system or an archiver", name)
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            if not os.path.exists(real):
                return self.leave_out("links to nothing", name, lost=True)
            if self._is_listed(real, entry.is_dir()):
                return self.leave_out(_REPEATED, name)
        if entry.is_dir():
            identity = _identity(os.stat(entry.path))
            if identity in self._folders:
                return self.leave_out(_REPEATED, name)
            self._folders.add(identity)
            return "folder"
        suffix = pathlib.PurePosixPath(entry.name).suffix.lower()
        if suffix not in self.suffixes:
            is_kind = (
                len(suffix) <= 6 and suffix[1:].isalnum() and not suffix[1:].isdigit()
            )
            kind = f"{suffix} files" if is_kind else "files of no kind"
            return self.leave_out(kind, name, lost=suffix in _OTHER_PICTURES)
        if not entry.is_file():
            return self.leave_out("things that are no files", name, lost=True)
        return "file"

    def _is_listed(self, real, is_folder):
        """Whether a link leads to what is listed anyway, or upwards in a circle."""
        if real in self._targets:
            return True
        self._targets.add(real)
        real, root = pathlib.PurePath(real), pathlib.PurePath(self.root)
        if root.is_relative_to(real):
            return True
        if not real.is_relative_to(root):
            return False
        shown = not any(
            part[0] == "." or part in _SYSTEM_FOLDERS
            for part in real.relative_to(root).parts
        )
        return shown and (is_folder or real.suffix.lower() in self.suffixes)


def find_images(folder, bad_files, argument="folder"):
    """Returns the image files of a folder, flat or with a folder for each class.

    Args:
        folder: Path of the folder.
        bad_files: `"skip"` or `"raise"`. What is left out is named in one warning; with
            `"raise"` it is an error if it was meant to be images.

        argument: String, the name of the argument that messages speak of.

    Returns:
        Tuple `(paths, labels, class_names)`: `ImagePaths` in the order of the names,
        int32 `(num_files,)`, and a list; the last two are `None` for a flat folder.

    Raises:
        ValueError: If the folder does not exist or holds no images, if it holds images
            both beside and inside class folders, or if a class has pictures but none
            that is read.
    """
    check_policy(bad_files)
    names, class_counts, left_out, lost = list_images(folder, argument)
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


def list_images(folder, argument="folder"):
    """Goes through a folder.

    Returns:
        Tuple `(names, class_counts, left_out, lost)`: the names as `ImagePaths` takes
        them; a dictionary from each class to its number of images, or `None` for a
        flat folder; a dictionary from the kinds of things that were left out to
        `(count, first name)`; the set of the kinds that were meant to be images.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"`{argument}` must be an existing folder. Received: {folder}")
    walk, names, class_counts = _Walk(folder), bytearray(), {}
    entries = walk.entries()
    flat = [name for name, is_folder in entries if not is_folder]
    for name in flat:
        names += _encode(name)
    lost_classes, empty_classes = [], []
    for name in [name for name, is_folder in entries if is_folder]:
        before, class_counts[name] = _num_lost(walk), 0
        for image in walk.images(name):
            names += _encode(image)
            class_counts[name] += 1
        if not class_counts[name]:
            is_lost = _num_lost(walk) > before
            (lost_classes if is_lost else empty_classes).append(name)
    if flat and any(class_counts.values()):
        raise ValueError(
            f"`{argument}` must hold image files or class folders, not both. {folder} "
            f"has {len(flat)} image files beside class folders: move them."
        )
    found = f" There are {describe(walk.left_out)}." if walk.left_out else ""
    if not names:
        raise ValueError(
            f"`{argument}` must hold images. {folder} has no file ending in "
            f"{', '.join(walk.suffixes)}, nor has a folder in it.{found}"
        )
    if lost_classes and not flat:
        raise ValueError(
            f"`{argument}` has {len(lost_classes)} classes with pictures of which none "
            f"can be listed, the first is {lost_classes[0]!r}.{found} Convert the "
            "files or mend the permissions, or move these classes away."
        )
    for name in lost_classes + empty_classes:
        walk.leave_out("folders without images", name)
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


def _identity(status):
    """Returns what tells a folder from all others."""
    return status.st_dev, status.st_ino
