"""Arrays from a safetensors file."""

import json
import math

import numpy as np

LARGEST_HEADER = 10**8  # bytes, as the format says
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_safetensors(path):
    """Read the arrays of a safetensors file.

    The format is eight bytes with the length of a JSON header, the header, which says
    dtype, shape and place of each array, and the arrays. Nothing in it can be run.

    Args:
        path: Path of the file.

    Returns:
        Dictionary from names to arrays, which are read as they are used. Those in half
        precision are float32.

    Raises:
        ValueError: If the header says what cannot be, such as arrays beyond the end of
            the file, over each other, with a gap between them, or of integers.
    """
    try:
        content = np.memmap(path, "uint8", mode="r")
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        if not 8 <= start <= min(len(content), LARGEST_HEADER):
            raise ValueError(f"its header has {start - 8} bytes, it {len(content)}")
        header = json.loads(content[8:start].tobytes(), object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        places = {name: _place(name, entry) for name, entry in header.items()}
        end = 0
        for name in sorted(places, key=lambda name: places[name][2:]):
            _, _, first, last = places[name]
            if first != end:
                raise ValueError(
                    f"{name} begins at {first}, what is before ends at {end}"
                )
            end = last
        if end != len(content) - start:
            raise ValueError(f"its arrays end at {end} of {len(content) - start} bytes")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged, or no safetensors file: {error}."
        ) from None
    return {
        name: _array(content[start + first : start + last], dtype, shape)
        for name, (dtype, shape, first, last) in places.items()
    }


def _unique(pairs):
    """A JSON object as a dictionary, unless two of its names are the same."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("two entries of its header have the same name")
    return dict(pairs)


def _place(name, entry):
    """Dtype, shape, begin and end of an array, which must fit each other."""
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in DTYPES:
        raise ValueError(f"{name} is of {dtype!r}, weights are of {', '.join(DTYPES)}")
    sides = [*shape, first, last]
    if any(type(side) is not int or not 0 <= side < 2**48 for side in sides):
        raise ValueError(f"{name} has shape {shape} from {first} to {last}")
    size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if last - first != size:
        raise ValueError(
            f"{name} has shape {shape} in {last - first} bytes, not {size}"
        )
    return dtype, shape, first, last


def _array(content, dtype, shape):
    """Bytes as an array, half precision as float32."""
    array = content.view(DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        return (array.astype("uint32") << 16).view("float32")
    return array.astype("float32") if dtype == "F16" else array
