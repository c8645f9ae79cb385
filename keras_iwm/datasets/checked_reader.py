"""Reads the images or clips of a folder, and keeps account of the bad ones."""

import numpy as np


class CheckedReader:
    """Reads files of one dtype, that of the first good one, and notes the bad ones.

    Args:
        paths: Sequence of the paths of the whole folder.
        pool: `ReaderPool`.
        bad_files: `BadFiles`.
        window: For clips that by which the dtype is found out, as `load_clip` takes it.
    """

    def __init__(self, paths, pool, bad_files, window=None):
        self.paths = paths
        self.pool = pool
        self.bad_files = bad_files
        self.window = window
        self._dtype = None

    def read(self, paths, windows=None):
        """Returns images or clips in one array, and which are good."""
        images, messages, _ = self.pool.read(paths, self.dtype(), windows)
        for path, message in zip(paths, messages, strict=True):
            if message is not None:
                self.bad_files.note(path, message)
        return images, np.array([message is None for message in messages])

    def dtype(self):
        """Returns the name of the dtype of the folder's first good file."""
        for path in self.paths if self._dtype is None else ():
            windows = self.window and [self.window]
            _, (message,), dtype = self.pool.read([path], None, windows)
            if message is None:
                self._dtype = dtype
                break
            self.bad_files.note(path, message)
        if self._dtype is None:
            kind = self.bad_files.kind
            raise ValueError(f"Not one of the {kind} can be used. {message}")
        return self._dtype
