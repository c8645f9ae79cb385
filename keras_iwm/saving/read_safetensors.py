"""Weights from a safetensors file."""

from keras_iwm.saving.open_safetensors import open_safetensors

FLOATS = ("F64", "F32", "F16", "BF16")


def read_safetensors(path):
    """Read the weights of a safetensors file.

    Args:
        path: Path of the file.

    Returns:
        Dictionary from names to arrays, which are read as they are used. Those in half
        precision are float32.

    Raises:
        ValueError: If the file is damaged, see `open_safetensors`, or holds integers.
    """
    arrays = open_safetensors(path, FLOATS)[-1]
    return {
        name: array.astype("float32") if array.dtype.itemsize == 2 else array
        for name, array in arrays.items()
    }
