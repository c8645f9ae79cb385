"""The paths of many files, in little memory."""

import collections.abc
import operator
import pathlib

import numpy as np


class ImagePaths(collections.abc.Sequence):
    """Sequence of the paths of the files of a folder; an item is a `pathlib.Path`.

    A million `Path`s take hundreds of megabytes; here a file takes its name and 16
    bytes. A part of the files shares the names of all.

    Args:
        folder: Path of the folder.
        names: Bytes, the names below the folder, in UTF-8 with `/` between folders,
            each with a zero behind it.
    """

    def __init__(self, folder, names):
        self.folder = pathlib.Path(folder)
        self._names = bytes(names)
        self._ends = np.flatnonzero(np.frombuffer(self._names, "uint8") == 0)
        self._starts = np.concatenate([[0], self._ends[:-1] + 1])[: len(self._ends)]

    def __len__(self):
        """Returns the number of files."""
        return len(self._ends)

    def __getitem__(self, index):
        """Returns the path of a file, or a sequence of paths for a slice."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.folder / self.name(index)

    def __eq__(self, other):
        """Whether other paths are the same ones in the same order."""
        return isinstance(other, ImagePaths) and list(self) == list(other)

    __hash__ = None

    def name(self, index):
        """Returns the name of a file below the folder, with `/` between folders."""
        index = operator.index(index)
        start, end = self._starts[index], self._ends[index]
        # Names may hold bytes that are no text in any script.
        return self._names[start:end].decode("utf-8", "surrogateescape")

    def names(self):
        """Returns all names as the constructor takes them."""
        ends = self._ends + 1
        if (ends - self._starts).sum() == len(self._names):
            return self._names
        pairs = zip(self._starts.tolist(), ends.tolist(), strict=True)
        return b"".join([self._names[start:end] for start, end in pairs])

    def take(self, indices):
        """Returns the sequence of some of the files."""
        part = object.__new__(ImagePaths)
        part.folder, part._names = self.folder, self._names
        part._starts, part._ends = self._starts[indices], self._ends[indices]
        return part
