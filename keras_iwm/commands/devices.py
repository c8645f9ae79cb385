"""On which devices a program trains, with the engine that each backend has."""

import atexit
import contextlib
import dataclasses
import os
import sys
from typing import Any

import keras

from keras_iwm.commands.find_processes import find_processes
from keras_iwm.distribution.sharded_state_layout import sharded_state_layout
from keras_iwm.distribution.tensor_parallel_layout import tensor_parallel_layout

# XLA starts an exchange early and waits for it late. Accepted where there is no GPU.
OVERLAP_FLAG = "--xla_gpu_enable_latency_hiding_scheduler=true"


@dataclasses.dataclass
class Devices:
    """What trains.

    Args:
        scope: Context in which to make models.
        replicas: Integer, into how many parts a batch is split.
        share: Pair, which part of a batch this process reads, and of how many.
        process: Pair, which process this is, and of how many.
    """

    scope: Any
    replicas: int
    share: tuple[int, int] = (0, 1)
    process: tuple[int, int] = (0, 1)


def use_devices(arguments, side):
    """Join the other processes, and return the `Devices`."""
    backend, count = keras.backend.backend(), arguments.devices
    parts = arguments.model_parallel
    processes = find_processes(arguments, os.environ)
    if backend != "jax" and (parts > 1 or arguments.shard_state):
        sys.exit("--model-parallel and --shard-state are for JAX")
    if parts > 1 and arguments.shard_state:
        sys.exit("--model-parallel or --shard-state, not both")
    if backend == "torch" and count > 1:
        sys.exit(f"--devices {count}: on Torch, torchrun --nproc-per-node {count}")
    if processes and count > 1:
        sys.exit("--devices is for one process; several train on all that they have")
    if processes and backend == "jax":
        count = join_jax(*processes)
    elif processes and backend == "torch":
        count = join_torch(*processes)
    elif processes:
        sys.exit(
            "Several processes: not on TensorFlow, where Keras cannot. Use "
            "KERAS_BACKEND=jax or torch, on which a run of TensorFlow resumes too"
        )
    if count % parts:
        sys.exit(f"--model-parallel {parts} must divide the {count} devices")
    replicas = count // parts
    if arguments.batch_size % replicas:
        sys.exit(f"--batch-size must be a multiple of {replicas}, one part a device")
    if count > 1 and backend == "jax":
        return start_jax(replicas, parts, side, arguments.shard_state)
    if count > 1 and backend == "tensorflow":
        return Devices(start_tensorflow(count), replicas)
    if count > 1:
        place = processes[2], count
        return Devices(contextlib.nullcontext(), replicas, place, place)
    return Devices(contextlib.nullcontext(), 1)


def join_jax(coordinator, count, index):
    """Join the other processes; return how many devices all of them have."""
    import jax

    # It would swallow a SIGTERM that comes before or after `fit`.
    jax.config.update("jax_enable_preemption_service", False)
    flags = os.environ.get("XLA_FLAGS", "")
    if OVERLAP_FLAG.split("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {OVERLAP_FLAG}"
    keras.distribution.initialize(coordinator, count, index)
    return keras.distribution.get_device_count()


def start_jax(replicas, parts, side, shard_state):
    """Split batches in `replicas`, and each model in `parts` or its state."""
    import jax

    devices, count = keras.distribution.list_devices(), replicas * parts
    if len(devices) < count:
        sys.exit(f"--devices {count}: there are {len(devices)}")
    process = jax.process_index(), jax.process_count()
    if process[1] == 1 and (64 % replicas or side % replicas):
        sys.exit(f"{replicas} parts of a batch: evaluation needs a divisor of 64")
    options = {"auto_shard_dataset": False}  # each process reads its own share
    if parts == 1 and not shard_state:
        distribution = keras.distribution.DataParallel(
            devices=devices[:count], **options
        )
    else:
        axes = (replicas, parts), ("batch", "model")
        mesh = keras.distribution.DeviceMesh(*axes, devices[:count])
        make_layout = sharded_state_layout if shard_state else tensor_parallel_layout
        distribution = keras.distribution.ModelParallel(
            layout_map=make_layout(mesh), batch_dim_name="batch", **options
        )
    keras.distribution.set_distribution(distribution)
    # A model over several processes reads one share in all of them.
    share = distribution.data_shard_id, min(replicas, process[1])
    return Devices(contextlib.nullcontext(), replicas, share, process)


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


def join_torch(coordinator, count, index):
    """Join the other processes; return how many there are."""
    import torch

    if coordinator is None:
        sys.exit("--coordinator auto: on JAX only; start the processes by torchrun")
    if torch.cuda.is_available():
        local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0))
        torch.cuda.set_device(int(local))
    # Those of torchrun meet at a store that it holds.
    meeting = None if "TORCHELASTIC_RUN_ID" in os.environ else f"tcp://{coordinator}"
    torch.distributed.init_process_group(
        init_method=meeting, world_size=count, rank=index
    )
    atexit.register(leave)
    return count


def leave():
    """Leave the other processes; all of them do, and the first one may go on alone."""
    if keras.backend.backend() == "jax":
        import jax

        jax.distributed.shutdown()
    elif keras.backend.backend() == "torch":
        import torch

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
