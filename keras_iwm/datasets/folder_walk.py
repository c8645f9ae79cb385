"""What a folder holds, and what of it is left out."""

import os
import pathlib

from keras_iwm.datasets.decode_image import image_suffixes

# Folders that systems and archivers make: small pictures, or the insides of files.
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")
# Pictures, going by their names, that are not read.
OTHER_PICTURES = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".eps", ".exr", ".hdr"),
    *(".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".npz", ".orf"),
    *(".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg"),
    *(".tga", ".xcf"),
)
_UNREADABLE = "folders that may not be read"
_REPEATED = "links to what is listed elsewhere"
_HIDDEN = "hidden files and folders"


class FolderWalk:
    """Goes through a folder of images and keeps account of what is left out.

    `left_out` holds for each kind of thing how many there were and the first name,
    `lost` the kinds among them that were meant to be images.

    Args:
        folder: Path of the folder.
    """

    kind = "images"

    def __init__(self, folder):
        self.folder = str(folder)
        self.root = os.path.realpath(folder)
        self.suffixes = image_suffixes()
        self.others = OTHER_PICTURES
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

    def top(self):
        """Returns the images beside class folders, and the folders: two lists."""
        entries = self.entries()
        return tuple(
            [name for name, is_folder in entries if is_folder == wanted]
            for wanted in (False, True)
        )

    def files(self, name):
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
        """Returns "file", "folder", or `None` for what is left out."""
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
            return self.leave_out(kind, name, lost=suffix in self.others)
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


def _identity(status):
    """Returns what tells a folder from all others."""
    return status.st_dev, status.st_ino
