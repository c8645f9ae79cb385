"""Variables of JAX in the pieces that processes hold."""

import jax
import numpy as np

from keras_iwm.backend import operations


def pieces_of(variable):
    """See `operations.pieces_of`."""
    if not _is_spread(variable):
        return operations.pieces_of(variable)
    shape, holders = variable.shape, {}
    for device, slices in variable.value.sharding.devices_indices_map(shape).items():
        holders.setdefault(_index(slices, shape), set()).add(device.process_index)
    return [(index, sorted(holders[index])) for index in sorted(holders)]


def read_piece(variable, index):
    """See `operations.read_piece`."""
    if not _is_spread(variable):
        return operations.read_piece(variable, index)
    for shard in variable.value.addressable_shards:
        if _index(shard.index, variable.shape) == index:
            return np.asarray(shard.data)
    raise ValueError(f"{variable.path} has no piece {index} on this process.")


def assign_pieces(variable, read):
    """See `operations.assign_pieces`."""
    if not _is_spread(variable):
        operations.assign_pieces(variable, read)
        return
    shape, sharding = variable.shape, variable.value.sharding
    variable.assign(
        jax.make_array_from_callback(
            shape,
            sharding,
            lambda slices: read(_index(slices, shape)).astype(variable.dtype),
        )
    )


def _is_spread(variable):
    """Whether a variable is laid out over several devices."""
    return len(variable.value.sharding.device_set) > 1


def _index(slices, shape):
    """Slices as pairs of begin and end."""
    return tuple(s.indices(n)[:2] for s, n in zip(slices, shape, strict=True))
