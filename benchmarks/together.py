"""Processes of this machine that train together, over the loopback interface."""

import os
import socket
import subprocess
import sys
import time


def run_together(script, arguments, backend, count, seconds):
    """Start a program in several processes; return what the first one has printed.

    Args:
        script: Path of the program, which calls `join` with its options.
        arguments: List of strings.
        backend: String, its `KERAS_BACKEND`.
        count: Integer, how many processes.
        seconds: Number, after which all of them are killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [
                *(sys.executable, script, *arguments),
                *("--coordinator", f"127.0.0.1:{port}"),
                *("--num-processes", str(count), "--process-index", str(index)),
            ],
            env={**os.environ, **environment},
            stdout=None if index else subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    end = time.monotonic() + seconds
    try:
        printed, _ = started[0].communicate(timeout=seconds)
        for process in started:
            process.wait(timeout=max(1, end - time.monotonic()))
            if process.returncode:
                sys.exit(f"A process of {backend} has failed: {process.returncode}")
    finally:
        for process in started:
            process.kill()
    return printed


def add_options(parser):
    """Give a parser the options by which `run_together` starts its processes."""
    parser.add_argument("--coordinator", help="set by the program itself")
    parser.add_argument("--num-processes", type=int, help="likewise")
    parser.add_argument("--process-index", type=int, help="likewise")


def join(arguments):
    """Join the other processes."""
    import keras

    from keras_iwm.commands import devices

    place = arguments.coordinator, arguments.num_processes, arguments.process_index
    if keras.backend.backend() == "jax":
        devices.join_jax(*place)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
    else:
        devices.join_torch(*place)
