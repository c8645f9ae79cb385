"""The arrays of a published network, read to the last one or not at all."""

import re

import numpy as np

MOST_NAMES = 20  # of a kind that a message lists


class StateDictionary:
    """Hand out the arrays of a state dictionary, and keep account of what does not fit.

    A converter takes what its network has, in the order of its code, and calls
    `check` before it makes anything of it: what was missing is listed with what
    nobody took.

    Args:
        arrays: Dictionary from names to NumPy arrays.
        source: What messages call it: the path of the file.
        prefixes: Tuple of strings that names may begin with, one behind the other,
            which are taken off.
        left_out: Tuple of strings: names that begin with one belong to a head, which
            an encoder has no use for.
    """

    def __init__(self, arrays, source, prefixes=(), left_out=()):
        self.source = source
        self.arrays = {}
        for name, array in arrays.items():
            for prefix in prefixes:
                name = name.removeprefix(prefix)
            if not isinstance(array, np.ndarray) or name in self.arrays:
                raise ValueError(
                    f"{source} must hold one array under each name. Received: {name}, "
                    f"which is there twice, or is a {type(array).__name__}."
                )
            if not name.startswith(left_out):
                self.arrays[name] = array
        self.taken = {}

    def __contains__(self, name):
        return name in self.arrays

    def shape(self, name, num_axes):
        """Return the shape of an array that sizes are read from.

        Args:
            name: String.
            num_axes: Integer, how many axes it must have.

        Returns:
            Tuple of integers.

        Raises:
            ValueError: If there is no such array.
        """
        shape = self.arrays[name].shape if name in self.arrays else None
        if shape is None or len(shape) != num_axes or 0 in shape:
            raise ValueError(
                f"{self.source} must hold {name} with {num_axes} axes, from which "
                f"sizes are read. Received: {shape} beside "
                f"{sorted(self.arrays)[:MOST_NAMES]}."
            )
        return shape

    def count(self, prefix):
        """Return how many numbers follow a prefix, as in `blocks.0.`, `blocks.1.`."""
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return len({match[1] for match in map(pattern.match, self.arrays) if match})

    def names_within(self, prefix):
        """Return the names of a stack's arrays, as `norm.bias` of `blocks.0.norm.bias`.

        Args:
            prefix: String, the stack's name: `"blocks"`.

        Returns:
            Set of strings.
        """
        pattern = re.compile(re.escape(prefix) + r"\.\d+\.(.+)")
        return {match[1] for match in map(pattern.match, self.arrays) if match}

    def take(self, name, shape):
        """Return an array as float32, or zeros if it is missing or of another shape.

        Args:
            name: String.
            shape: Tuple of integers that it must have.

        Returns:
            NumPy array of that shape.
        """
        self.taken[name] = shape = tuple(shape)
        array = self.arrays.get(name)
        if array is None or array.shape != shape:
            return np.broadcast_to(np.float32(0), shape)
        return np.asarray(array, "float32")

    def check(self):
        """Refuse the whole if anything was missing, left over, or not finite.

        Raises:
            ValueError: With all names that do not fit, and the shapes of both sides.
        """
        taken, arrays = self.taken, self.arrays
        both = [name for name in taken if name in arrays]
        faults = {
            "missing": [
                f"{name} {shape}" for name, shape in taken.items() if name not in arrays
            ],
            "unexpected": [
                f"{name} {array.shape}"
                for name, array in arrays.items()
                if name not in taken
            ],
            "of another shape": [
                f"{name} {arrays[name].shape}, needed {taken[name]}"
                for name in both
                if arrays[name].shape != taken[name]
            ],
            "NaN or infinite": [
                name for name in both if not np.isfinite(arrays[name]).all()
            ],
        }
        lines = [
            f"{kind} ({len(names)}): {'; '.join(names)}"
            for kind, names in faults.items()
            if names
        ]
        if lines:
            raise ValueError(
                f"{self.source} must hold the weights of this network, no more and no "
                "less; nothing was loaded. " + ". ".join(lines) + "."
            )
