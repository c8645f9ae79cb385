"""Arrays into a safetensors file."""

import json

import numpy as np

from keras_iwm.whole_file import whole_file


def write_safetensors(path, arrays):
    """Write arrays as float32 into a safetensors file.

    Args:
        path: Path of the file.
        arrays: Dictionary from names to arrays.
    """
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        first, end = end, end + 4 * array.size
        shape = list(array.shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with whole_file(path) as unfinished, open(unfinished, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())
