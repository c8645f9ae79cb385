"""Processes that take turns, so that a noisy machine disturbs them alike."""

import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import time

import tqdm

BACKENDS = ("jax", "tensorflow", "torch")
# With these a process keeps the memory that a step frees: docs/performance.md.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
}


def installed(backends):
    """Return those of `backends` that are installed, and name the others."""
    found = [name for name in backends if importlib.util.find_spec(name)]
    for name in backends:
        if name not in found:
            print(f"{name} is not installed: left out")
    return found


def start_pairs(script, backends, kinds):
    """Start a worker of each kind for each installed backend.

    Args:
        script: Path of the program, which knows a kind by its option `--worker`.
        backends: List of strings.
        kinds: Pair of strings.

    Returns:
        Dictionary of two `Worker`s by backend.
    """
    return {
        backend: [
            Worker(script, [*sys.argv[1:], "--worker", kind], backend) for kind in kinds
        ]
        for backend in installed(backends)
    }


class Worker:
    """A process that runs a block of work each time it is asked.

    Args:
        script: Path of the program; it is started with `arguments` and calls `serve`.
        arguments: List of strings.
        backend: String, its `KERAS_BACKEND`.
        environment: Optional dictionary of further environment variables.
        keep_memory: Boolean, whether freed memory stays with the process; if not, no
            setting of the allocator is passed on either.
    """

    def __init__(
        self, script, arguments, backend="torch", environment=None, keep_memory=True
    ):
        environment = {
            **(KEEP_MEMORY if keep_memory else {}),
            **os.environ,
            **(environment or {}),
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        if not keep_memory:
            for name in [name for name in environment if name.startswith("MALLOC_")]:
                del environment[name]
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()
        self.blocks = []

    def run_block(self):
        """Ask for a block and keep its seconds."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.blocks.append(self._answer()["seconds"])

    def close(self):
        """Let the process end, and return what it says last."""
        self.process.stdin.close()
        facts = self._answer()
        self.process.wait()
        return facts

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise RuntimeError("A worker stopped; its error is above.")


def tell(facts):
    """In a worker: answer with facts, a dictionary."""
    print("ANSWER", json.dumps(facts), flush=True)


def serve(facts, run_block, last=dict):
    """In a worker: say `facts`, then run a block for each line that comes in.

    Args:
        facts: Dictionary, told once everything is warm.
        run_block: Function that does the work and returns its seconds.
        last: Function that returns a dictionary to be told at the end.
    """
    tell(facts)
    for _ in sys.stdin:
        tell({"seconds": run_block()})
    tell(last())


def take_turns(workers, num_blocks):
    """Run `num_blocks` blocks of each worker, in turns of changing order.

    A block is up to a sixth slower behind one of some other program than behind one of
    its own kind, so none may always come behind the same.

    Args:
        workers: Iterable of `Worker`.
        num_blocks: Integer.
    """
    workers, draws = list(workers), random.Random(0)
    for _ in tqdm.tqdm(range(num_blocks), "Rounds"):
        draws.shuffle(workers)
        for worker in workers:
            worker.run_block()


def rates_of(worker, work):
    """Median, lowest and highest of `work` per second over a worker's blocks."""
    rates = [work / seconds for seconds in worker.blocks]
    return {
        "median": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
    }


def epoch_clock():
    """Make a callback whose `seconds` are those of the last epoch.

    What `fit` does before and after its epochs does not count: in blocks of a few
    steps it would weigh more than in a run, and on TensorFlow it sometimes waits a
    second for the input pipeline to end.
    """
    import keras

    class EpochClock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            float(logs["loss"])  # wait for the device
            self.seconds = time.perf_counter() - self.start

    return EpochClock()


def versions():
    """Say what was measured on: machine and versions."""
    import importlib.metadata
    import platform

    packages = ("keras", "jax", "tensorflow", "tensorflow-cpu", "torch", "numpy")
    found = {"python": platform.python_version(), "cores": os.cpu_count()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(path, results):
    """Write results as JSON if a path was given."""
    if path:
        with open(path, "w") as file:
            json.dump({"machine": versions(), **results}, file, indent=2)
