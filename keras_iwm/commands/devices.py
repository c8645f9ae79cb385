"""On how many devices a program trains, with the engine that each backend has."""

import atexit
import contextlib
import os
import sys

import keras

from keras_iwm.distribution.tensor_parallel_layout import tensor_parallel_layout


def use_devices(arguments):
    """Return the scope in which to make models, and on how many devices they learn."""
    backend, count = keras.backend.backend(), arguments.devices
    parts = arguments.model_parallel
    if backend == "torch":
        if count > 1:
            sys.exit(f"--devices {count}: on Torch, torchrun --nproc-per-node {count}")
        count = int(os.environ.get("WORLD_SIZE", 1))
    if count % parts or parts > 1 and backend != "jax":
        sys.exit(f"--model-parallel {parts} must divide --devices {count}, on JAX only")
    replicas = count // parts
    if arguments.batch_size % replicas:
        sys.exit(f"--batch-size must be a multiple of {replicas}, one part a device")
    scope = contextlib.nullcontext()
    if count > 1 and backend == "jax":
        start_jax(replicas, parts)
    elif count > 1 and backend == "tensorflow":
        scope = start_tensorflow(count)
    elif count > 1:
        start_torch()
    return scope, replicas


def start_jax(replicas, parts):
    """Split batches in `replicas`, and each model in `parts`."""
    devices, count = keras.distribution.list_devices(), replicas * parts
    if len(devices) < count:
        sys.exit(f"--devices {count}: there are {len(devices)}")
    if parts == 1:
        distribution = keras.distribution.DataParallel(devices=devices[:count])
    else:
        mesh = keras.distribution.DeviceMesh(
            (replicas, parts), ("batch", "model"), devices[:count]
        )
        distribution = keras.distribution.ModelParallel(
            layout_map=tensor_parallel_layout(mesh),
            batch_dim_name="batch",
        )
    keras.distribution.set_distribution(distribution)


def start_tensorflow(count):
    """Return the scope of a strategy for the first GPUs, or for virtual CPUs."""
    import tensorflow as tf

    kind = "GPU"
    if not tf.config.list_physical_devices("GPU"):
        kind = "CPU"
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    devices = tf.config.list_logical_devices(kind)
    if len(devices) < count:
        sys.exit(f"--devices {count}: there are {len(devices)}")
    return tf.distribute.MirroredStrategy([d.name for d in devices[:count]]).scope()


def start_torch():
    """Join the other processes that torchrun started."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group()
    atexit.register(torch.distributed.destroy_process_group)
