"""Images per second and first-step time of a preset, on each installed backend.

    python benchmarks/train_step.py --preset iwm_tiny_96 --batch-size 32

Each backend runs in a process of its own. The processes take turns, one block of
steps at a time, so that a noisy machine disturbs them alike; the median over the
blocks is printed, with the spread, and written as JSON with --output.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

BACKENDS = ("jax", "tensorflow", "torch")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="iwm_tiny_32")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=5, help="turns of each backend")
    parser.add_argument("--steps", type=int, default=10, help="steps in a block")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--output", help="path of the JSON file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(arguments):
    """Run blocks of steps whenever a line comes in, and answer with the seconds."""
    import keras
    import numpy as np

    import keras_iwm

    keras.config.set_dtype_policy(arguments.precision)
    recipe = keras_iwm.optimizers.pretraining_recipe(10_000, arguments.batch_size)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset, ema_momentum=recipe.ema_momentum, seed=0
    )
    # XLA on TensorFlow too: its default leaves it off on machines without a GPU.
    jit_compile = True if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(recipe.optimizer, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    count = arguments.batch_size * arguments.steps
    images = rng.integers(0, 256, (count, *model.image_size, 3)).astype("uint8")

    def seconds_of(images):
        start = time.perf_counter()
        model.fit(images, batch_size=arguments.batch_size, verbose=0)
        return time.perf_counter() - start

    print("seconds", seconds_of(images[: arguments.batch_size]), flush=True)
    seconds_of(images)  # the loop around the steps warms up too
    print("seconds", 0, flush=True)
    for _ in sys.stdin:
        print("seconds", seconds_of(images), flush=True)


def answer_of(process):
    """Wait for a worker's next answer."""
    for line in process.stdout:
        if line.startswith("seconds"):
            return float(line.split()[1])
    raise RuntimeError("A worker stopped; its error is above.")


def main():
    """Start a worker for each backend and let them take turns."""
    arguments = parse_arguments()
    if arguments.worker:
        work(arguments)
        return
    workers, first = {}, {}
    for backend in arguments.backends:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend} is not installed: left out")
            continue
        workers[backend] = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--worker"],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        first[backend] = answer_of(workers[backend])
        answer_of(workers[backend])
    blocks = {backend: [] for backend in workers}
    for _ in range(arguments.blocks):
        for backend, process in workers.items():
            process.stdin.write("\n")
            process.stdin.flush()
            blocks[backend].append(answer_of(process))
    results = {}
    images = arguments.steps * arguments.batch_size
    print(f"{arguments.preset}, batch {arguments.batch_size}, {arguments.precision}")
    print("backend      images/s   lowest  highest  first step")
    for backend, process in workers.items():
        process.stdin.close()
        process.wait()
        rates = [images / seconds for seconds in blocks[backend]]
        results[backend] = {
            "images_per_second": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "first_step_seconds": first[backend],
        }
        print(
            f"{backend:11s} {statistics.median(rates):9.1f} {min(rates):8.1f} "
            f"{max(rates):8.1f} {first[backend]:9.1f} s"
        )
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump({**vars(arguments), "results": results}, file, indent=2)


if __name__ == "__main__":
    main()
