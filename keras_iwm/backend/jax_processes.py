"""What processes of JAX ask each other."""

import contextlib
import functools

import jax
import keras
import numpy as np
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec


def count_processes():
    """See `processes.count_processes`."""
    return jax.process_count()


def process_index():
    """See `processes.process_index`."""
    return jax.process_index()


def ask_all(number):
    """See `processes.ask_all`."""
    if jax.process_count() == 1:
        return lambda: number
    split, largest_of = questions()
    mine = np.full(jax.local_device_count(), number, "int32")
    largest = largest_of(jax.make_array_from_process_local_data(split, mine))
    return lambda: int(np.asarray(largest))


@functools.cache
def questions():
    """How numbers of all devices lie on them, and the program that compares them."""
    mesh = jax.sharding.Mesh(jax.devices(), ("devices",))
    split, whole = PartitionSpec("devices"), PartitionSpec()
    largest_of = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, whole))
    return NamedSharding(mesh, split), largest_of


@contextlib.contextmanager
def alone(model):
    """See `processes.alone`.

    Arrays span the devices of all processes, and every operation on them needs all.
    Inside, the variables hold arrays on one device of this process.
    """
    if jax.process_count() == 1:
        yield
        return
    variables = [*model.variables, *model.metrics_variables]
    if model.optimizer is not None:
        variables += model.optimizer.variables
    kept = [(v, v._value, v._layout) for v in {id(v): v for v in variables}.values()]
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    for variable, value, _ in kept:
        variable._value, variable._layout = own_copy(value), None
    try:
        yield
    finally:
        for variable, value, layout in kept:
            variable._value, variable._layout = value, layout
        keras.distribution.set_distribution(distribution)


def copy_of(value):
    """See `operations.copy_of`.

    Through the host nothing is compiled; but no host sees all that several hold.
    """
    return np.asarray(value) if value.is_fully_addressable else jnp.copy(value)


def own_copy(value):
    """An array's whole value on one device of this process."""
    if value.is_fully_replicated:
        # A copy, for what is compiled may take over the buffers that it is given.
        return jnp.copy(value.addressable_data(0))
    # Not imported where no arrays are split: it is experimental.
    from jax.experimental import multihost_utils

    return jnp.asarray(multihost_utils.process_allgather(value, tiled=True))
