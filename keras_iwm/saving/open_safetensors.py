"""What stands in a safetensors file."""

import json
import math

import ml_dtypes  # noqa: F401  NumPy knows its names by it
import numpy as np

LARGEST_HEADER = 10**8  # bytes, as the format says
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


def open_safetensors(path, codes=tuple(DTYPES)):
    """Open a safetensors file.

    The format is eight bytes with the length of a JSON header, the header, which says
    dtype, shape and place of each array, and the arrays. Nothing in it can be run.

    Args:
        path: Path of the file.
        codes: Tuple of the dtypes that arrays may have, as the format calls them.

    Returns:
        Tuple of all bytes of the file, those of its header, what the header says beside
        arrays, and a dictionary from names to arrays. All are read as they are used.

    Raises:
        ValueError: If the header says what cannot be, such as arrays beyond the end of
            the file, over each other, or with a gap between them.
    """
    try:
        content = np.memmap(path, "uint8", mode="r")
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        if not 8 <= start <= min(len(content), LARGEST_HEADER):
            raise ValueError(f"its header has {start - 8} bytes, it {len(content)}")
        text = content[8:start].tobytes()
        header = json.loads(text, object_pairs_hook=_unique)
        facts = dict(header.pop("__metadata__", {}))
        places = {name: _place(name, entry, codes) for name, entry in header.items()}
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
    arrays = {
        name: content[start + first : start + last].view(dtype).reshape(shape)
        for name, (dtype, shape, first, last) in places.items()
    }
    return content, text, facts, arrays


def _unique(pairs):
    """A JSON object as a dictionary, unless two of its names are the same."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("two entries of its header have the same name")
    return dict(pairs)


def _place(name, entry, codes):
    """Dtype, shape, begin and end of an array, which must fit each other."""
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in codes:
        raise ValueError(f"{name} is of {dtype!r}, not of {', '.join(codes)}")
    sides = [*shape, first, last]
    if any(type(side) is not int or not 0 <= side < 2**48 for side in sides):
        raise ValueError(f"{name} has shape {shape} from {first} to {last}")
    dtype = np.dtype(DTYPES[dtype])
    size = math.prod(shape) * dtype.itemsize
    if last - first != size:
        raise ValueError(
            f"{name} has shape {shape} in {last - first} bytes, not {size}"
        )
    return dtype, shape, first, last
