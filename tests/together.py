"""Processes that train together over the loopback interface, for a bounded time."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import keras

ROOT = pathlib.Path(__file__).parents[1]


def start_together(words, count=2, num_devices=1, **options):
    """Start a program of Python in several processes, on the backend that runs.

    Args:
        words: List of strings, what stands behind `python` and before the options
            that say where processes meet.
        count: Integer, how many processes.
        num_devices: Integer, virtual devices of JAX in each of them.
        **options: Arguments of `subprocess.Popen`.

    Returns:
        List of `subprocess.Popen`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={num_devices}"
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": flags,
    }
    place = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count)]
    return [
        subprocess.Popen(
            [sys.executable, *words, *place, "--process-index", str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        for index in range(count)
    ]


def wait_for(processes, seconds=240):
    """Wait for all processes; return pairs of exit code and what each has printed."""
    end = time.monotonic() + seconds
    try:
        printed = [
            process.communicate(timeout=max(1, end - time.monotonic()))[0]
            for process in processes
        ]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, text) for p, text in zip(processes, printed, strict=True)]
