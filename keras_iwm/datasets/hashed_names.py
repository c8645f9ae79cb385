"""A number for each file that depends on its name alone."""

import hashlib
import unicodedata

import numpy as np


def hashed_names(paths, seed):
    """Returns a number from 0 to below 1 for each file, evenly spread.

    It depends on the seed and the file's name below the folder, the class with it: not
    on the other files, nor on the system or how it writes accents.

    Args:
        paths: `ImagePaths`.
        seed: Non-negative integer.

    Returns:
        float64 `(num_files,)`.
    """
    numbers = np.empty(len(paths))
    for position in range(len(paths)):
        name = f"{seed}/{unicodedata.normalize('NFC', paths.name(position))}"
        content = name.encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(content, digest_size=6).digest()
        numbers[position] = int.from_bytes(digest, "big") / 2**48
    return numbers
