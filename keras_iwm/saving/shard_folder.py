"""A model's folder of shards, as it is read."""

import json
import math
import pathlib
import re
import zlib

import numpy as np

from keras_iwm.saving.open_safetensors import open_safetensors
from keras_iwm.saving.write_safetensors import NO_CHECKSUM
from keras_iwm.saving.write_shards import INDEX, index_checksum, shard_path

LARGEST_INDEX = 2**26  # bytes; the history of a run of a million epochs has as many
MOST_SHARDS = 2**16
_PIECE = re.compile(r"(model|optimizer)/(\d{5})/(.*?)(?:\[([\d:,]+)\])?")


class ShardFolder:
    """What `save_shards` has written, opened without reading the arrays.

    Args:
        folder: Path of the folder.

    Raises:
        ValueError: If it has no index, or is damaged.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        index = self._read_index()
        try:
            self.config, self.facts = index["config"], index["facts"]
            self.num_shards = index["num_shards"]
            if type(self.num_shards) is not int or self.num_shards not in range(
                1, MOST_SHARDS
            ):
                raise ValueError(f"it has {self.num_shards} shards")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.folder / INDEX} is damaged: {error}.") from None
        self.arrays = {}  # by name, what was stored beside the model
        self.pieces = {}  # by group and place, lists of pairs of index and values
        self.paths = {}  # by group and place, of the variable
        self._opened = [self._open(rank) for rank in range(self.num_shards)]
        self.shapes = {key: self._shape(key) for key in self.pieces}

    def check_bytes(self, rank=0, count=1):
        """Compare files with their checksums: all, or the share of one process.

        Raises:
            ValueError: If one has another checksum.
        """
        for number in range(rank, self.num_shards, count):
            content, header, facts = self._opened[number]
            stored = facts.get("checksum")
            text = header.replace(str(stored).encode(), NO_CHECKSUM.encode(), 1)
            found = zlib.crc32(content[8 + len(header) :], zlib.crc32(text))
            if stored != f"{found:08x}":
                raise ValueError(
                    f"{shard_path(self.folder, number)} is damaged: its checksum is "
                    f"{found:08x}, and should be {stored}"
                )

    def count_values(self):
        """Return how many numbers the variables have."""
        return sum(map(math.prod, self.shapes.values()))

    def group(self, name):
        """Return paths and shapes of `"model"` or `"optimizer"`, in their order."""
        keys = sorted(key for key in self.pieces if key[0] == name)
        if [place for _, place in keys] != list(range(len(keys))):
            raise ValueError(f"{self.folder} is damaged: variables of {name} are lost")
        return [(self.paths[key], self.shapes[key]) for key in keys]

    def read(self, group, place, index):
        """Return a part of a variable, put together of its pieces.

        Args:
            group: `"model"` or `"optimizer"`.
            place: Integer, the variable's place among those of its group.
            index: Pairs of begin and end for each axis.

        Returns:
            NumPy array of its own.
        """
        pieces = self.pieces[group, place]
        shape = [stop - start for start, stop in index]
        values = np.zeros(shape, pieces[0][1].dtype)
        for where, piece in pieces:
            common = [
                (max(a, c), min(b, d))
                for (a, b), (c, d) in zip(index, where, strict=True)
            ]
            if all(start < stop for start, stop in common):
                values[_slices(common, index)] = piece[_slices(common, where)]
        return values

    def _read_index(self):
        path = self.folder / INDEX
        if not path.is_file():
            raise ValueError(
                f"{self.folder} has no {INDEX}: it was not written to its end, or is "
                "no folder of shards. Use the checkpoint before it"
            )
        try:
            if path.stat().st_size > LARGEST_INDEX:
                raise ValueError(f"it has {path.stat().st_size} bytes")
            index = json.loads(path.read_bytes())
            if index.pop("checksum") != index_checksum(index):
                raise ValueError("its checksum is another")
            return index
        except (
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
            RecursionError,
        ) as error:
            raise ValueError(f"{path} is damaged: {error}") from None

    def _open(self, rank):
        """Open a shard and note what it has."""
        path = shard_path(self.folder, rank)
        if not path.is_file():
            raise ValueError(f"{self.folder} is damaged: it has no {path.name}")
        content, header, facts, arrays = open_safetensors(path)
        for name, values in arrays.items():
            if name.startswith("array/"):
                self.arrays[name.removeprefix("array/")] = values
                continue
            match = _PIECE.fullmatch(name)
            if match is None:
                raise ValueError(f"{path} holds {name!r}, which is of no model")
            group, place, variable, index = match.groups()
            where = [(0, side) for side in values.shape]
            if index is not None:
                where = [tuple(map(int, pair.split(":"))) for pair in index.split(",")]
            if [stop - start for start, stop in where] != list(values.shape):
                raise ValueError(f"{path} is damaged: {name!r} has {values.shape}")
            self.pieces.setdefault((group, int(place)), []).append((where, values))
            self.paths[group, int(place)] = variable
        return content, header, facts

    def _shape(self, key):
        """Shape of a variable, whose pieces must make up all of it."""
        wheres = [where for where, _ in self.pieces[key]]
        if len({len(where) for where in wheres}) > 1:
            raise ValueError(f"{self.folder} is damaged: {self.paths[key]} has 2 ranks")
        shape = tuple(
            max(stop for _, stop in axis) for axis in zip(*wheres, strict=True)
        )
        held = sum(math.prod(stop - start for start, stop in where) for where in wheres)
        if held != math.prod(shape):
            raise ValueError(
                f"{self.folder} is damaged: {held} values of {self.paths[key]} are "
                f"there, of {shape}"
            )
        return shape


def _slices(index, origin):
    """Pairs of begin and end as slices of an array that begins at `origin`."""
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(index, origin, strict=True)
    )
