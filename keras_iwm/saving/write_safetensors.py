"""Arrays into a safetensors file."""

import json
import math
import os
import zlib

import ml_dtypes  # noqa: F401  NumPy knows its names by it
import numpy as np

from keras_iwm.saving.open_safetensors import DTYPES
from keras_iwm.whole_file import whole_file

NO_CHECKSUM = "0" * 8


def write_safetensors(path, arrays):
    """Write arrays as float32 into a safetensors file.

    Args:
        path: Path of the file.
        arrays: Dictionary from names to arrays.
    """
    entries = {name: ("float32", array.shape) for name, array in arrays.items()}
    with whole_file(path) as unfinished:
        stream_safetensors(unfinished, entries, arrays.__getitem__)


def stream_safetensors(path, entries, read):
    """Write arrays one after the other, with a checksum of all of them.

    One array at a time is held.

    Args:
        path: Path of the file.
        entries: Dictionary from names to pairs of dtype, a string, and shape.
        read: Function from a name to its array.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header, end = {"__metadata__": {"format": "pt", "checksum": NO_CHECKSUM}}, 0
    for name, (dtype, shape) in entries.items():
        first, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {
            "dtype": codes[dtype],
            "shape": list(shape),
            "data_offsets": [first, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        checksum = zlib.crc32(text)
        for name, (dtype, _) in entries.items():
            array = np.ascontiguousarray(read(name), dtype).reshape(-1).view("uint8")
            checksum = zlib.crc32(array, checksum)
            file.write(array)
        # Known only now: it takes the place of the zeros, which it is a checksum of.
        file.seek(8)
        file.write(text.replace(NO_CHECKSUM.encode(), b"%08x" % checksum, 1))
        file.flush()
        os.fsync(file.fileno())
