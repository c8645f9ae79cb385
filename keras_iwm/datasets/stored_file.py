"""Image files whose bytes are in memory, where otherwise paths are.

Part of the worker process of `ImageShards`, like `read_image.py`: nothing of Keras is
imported here.
"""

import io
import os


class StoredFile:
    """An image file in memory, or the reason why its bytes could not be had.

    Args:
        name: String, what messages call it; its suffix says how it is read.
        content: Bytes, or `None` if there is an error.
        error: Optional string, raised where the file is opened.
    """

    def __init__(self, name, content, error=None):
        self.name = name
        self.content = content
        self.error = error

    def __str__(self):
        return self.name

    def open(self):
        """Returns the bytes as a binary stream, or raises the ValueError."""
        if self.error is not None:
            raise ValueError(self.error)
        return io.BytesIO(self.content)


def readable(path):
    """Returns what Pillow and tifffile open: a path, or the stream of a stored file."""
    return path.open() if isinstance(path, StoredFile) else path


def is_empty(path):
    """Whether a path or a stored file is there and holds no byte."""
    if isinstance(path, StoredFile):
        return path.content == b""
    return os.path.isfile(path) and os.path.getsize(path) == 0


def open_array(path):
    """Returns the array of a `.npy` file, of which a path's is not read yet.

    The size that its header tells is compared with that of the file before memory is
    taken, and nothing is unpickled, which could run a stranger's code.
    """
    import numpy as np

    if not isinstance(path, StoredFile):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    file = path.open()
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"it is a .npy file of the unknown version {version}")
    shape, in_columns, dtype = readers[version](file)
    count = 1
    for extent in shape:
        count *= extent
    array = np.frombuffer(path.content, dtype, count, file.tell())
    return array.reshape(shape, order="F" if in_columns else "C")
