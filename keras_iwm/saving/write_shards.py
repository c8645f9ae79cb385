"""Shards of a model: which process writes what, and when they count."""

import itertools
import json
import math
import shutil
import zlib

import keras
import ml_dtypes  # noqa: F401  NumPy knows its names by it
import numpy as np

from keras_iwm.backend import (
    ask_all,
    count_processes,
    pieces_of,
    process_index,
    read_piece,
    settle,
)
from keras_iwm.saving.write_safetensors import stream_safetensors
from keras_iwm.version import __version__
from keras_iwm.whole_file import whole_file

INDEX = "index.json"


def write_shards(model, folder, facts=None, arrays=None):
    """Write a model into a folder, each process a part of it; see `save_shards`.

    Args:
        model: `keras.Model`, built.
        folder: `pathlib.Path`.
        facts: Optional dictionary that JSON can hold, stored in the index.
        arrays: Optional dictionary from names to NumPy arrays, stored by the first
            process.

    Raises:
        OSError: If a file cannot be written. All processes raise.
    """
    settle(model)
    rank, count = process_index(), count_processes()
    index = {
        "config": keras.saving.serialize_keras_object(model),
        "facts": facts or {},
        "num_shards": count,
        "keras_iwm_version": __version__,
    }
    index = {"checksum": index_checksum(index), **index}
    together(lambda: _clear(folder) if rank == 0 else None)
    together(lambda: _write_shard(model, folder, arrays or {}, rank, count))
    together(lambda: _write_index(folder, index) if rank == 0 else None)


def remove_shards(folder):
    """Remove a folder; a crash in the midst of it leaves none that counts."""
    (folder / INDEX).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def index_checksum(index):
    """The checksum of what an index says, without its own."""
    return zlib.crc32(json.dumps(index).encode())


def groups_of(model):
    """The variables that a checkpoint holds, by the part that has them."""
    optimizer = getattr(model, "optimizer", None)
    is_built = optimizer is not None and optimizer.built
    return {
        "model": model.variables,
        "optimizer": optimizer.variables if is_built else [],
    }


def own_pieces(variables, rank, count):
    """Choose which pieces of variables a process writes, a fair part of all bytes.

    Args:
        variables: List of `keras.Variable`.
        rank: Integer, the process.
        count: Integer, how many there are.

    Returns:
        List of pairs: the variable's place in the list, and where its piece lies.
    """
    pieces = [
        (place, index, holders)
        for place, variable in enumerate(variables)
        for index, holders in pieces_of(variable)
    ]

    def size(piece):
        place, index, _ = piece
        itemsize = np.dtype(variables[place].dtype).itemsize
        return itemsize * math.prod(stop - start for start, stop in index)

    loads, own = [0] * count, []
    # The largest first: what is left evens out what they differ by.
    for piece in sorted(pieces, key=size, reverse=True):
        writer = min(piece[2], key=loads.__getitem__)
        loads[writer] += size(piece)
        if writer == rank:
            own.append(piece[:2])
    return sorted(own)


def together(action):
    """Do a part in each process; where one fails, all of them raise.

    None goes on before all are done.
    """
    failed = None
    try:
        action()
    except Exception as error:
        failed = error
    number = ask_all(0 if failed is None else process_index() + 1)()
    if failed is not None:
        raise failed
    if number:
        raise OSError(f"Process {number - 1} could not write its part.")


def shard_path(folder, rank):
    """Path of the file of one process."""
    return folder / f"shard_{rank:05d}.safetensors"


def _clear(folder):
    """Make a folder that counts for nothing until its index is written."""
    (folder / INDEX).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in folder.glob("shard_*.safetensors"):
        shard.unlink()


def _write_shard(model, folder, arrays, rank, count):
    """Write this process's pieces; the first one's arrays too."""
    entries, reads = {}, {}
    groups = groups_of(model)
    variables = list(itertools.chain(*groups.values()))
    places = [(g, i) for g, members in groups.items() for i in range(len(members))]
    for number, index in own_pieces(variables, rank, count):
        variable, (group, place) = variables[number], places[number]
        name = f"{group}/{place:05d}/{variable.path}"
        if index != tuple((0, side) for side in variable.shape):
            name += "[" + ",".join(f"{start}:{stop}" for start, stop in index) + "]"
        shape = [stop - start for start, stop in index]
        entries[name] = keras.backend.standardize_dtype(variable.dtype), shape
        reads[name] = variable, index
    stored = {}
    for name, array in arrays.items() if rank == 0 else ():
        stored[f"array/{name}"] = array
        entries[f"array/{name}"] = array.dtype.name, array.shape

    def read(name):
        return stored[name] if name in stored else read_piece(*reads[name])

    stream_safetensors(shard_path(folder, rank), entries, read)


def _write_index(folder, index):
    """Write what makes the folder count."""
    with whole_file(folder / INDEX) as unfinished:
        unfinished.write_text(json.dumps(index))
