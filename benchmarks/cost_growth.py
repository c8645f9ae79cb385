"""How time and memory of a training step grow with tokens, depth and batch.

    python benchmarks/cost_growth.py --output growth.json --figure growth.png

From one base size, the number of patches, the depth of the encoder and the batch size
are changed in turn. Every point is a process of its own, since a process's peak memory
never falls. Beside the time stand the operations by `flops_per_image`: where the two
part, something else than products costs time.

`memory` is the peak of the process above what it held before the model was made, in
MiB: weights, optimizer, activations, and what the compiler needs, which on JAX is most
of it for small batches. It is the main memory; that of an accelerator is not measured.
KERAS_BACKEND chooses the backend.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

PATCH_SIZE = 16
NAMES = {"tokens": "patches", "depth": "encoder blocks", "batch": "batch size"}


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sides", type=int, nargs="+", default=[4, 6, 10, 14], help="patches a side")
    add("--depths", type=int, nargs="+", default=[3, 6, 12])
    add("--batches", type=int, nargs="+", default=[2, 8, 32])
    add("--base", type=int, nargs=3, default=[6, 6, 8], help="side, depth, batch")
    add("--width", type=int, default=192, help="features, 64 to a head")
    add("--steps", type=int, default=5, help="timed; their median is shown")
    add("--remat", action="store_true", help="gradient checkpointing")
    add("--output", help="path of the JSON file")
    add("--figure", help="path of the picture")
    add("--point", type=int, nargs=3, help=argparse.SUPPRESS)  # makes it a worker
    return parser.parse_args()


def measure(arguments):
    """Measure one point in this process, and print it as JSON."""
    import warnings

    import keras
    import numpy as np

    import keras_iwm
    from keras_iwm import backbones, models
    from keras_iwm.views import MultiBlockMask, ViewGenerator

    warnings.simplefilter("ignore")  # of small grids
    side, depth, batch = arguments.point
    width, heads = arguments.width, max(1, arguments.width // 64)
    size = side * PATCH_SIZE
    # Some imports wait for the first step of any model; for its config Keras imports
    # TensorFlow, where it is installed, on every backend.
    warm_up = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    warm_up.compile("sgd", "mse")
    warm_up.train_on_batch(np.zeros((1, 1)), np.zeros((1, 1)))
    warm_up.get_config()
    before = peak_memory()
    views = ViewGenerator(size, MultiBlockMask(side), seed=0)
    model = models.ImageWorldModel(
        backbones.ViTEncoder(
            size, PATCH_SIZE, width, depth, heads, remat=arguments.remat, name="encoder"
        ),
        backbones.WorldModelPredictor(
            (side, side),
            width,
            width // 2,
            6,
            heads,
            action_dim=views.action_space.action_dim,
            remat=arguments.remat,
            name="predictor",
        ),
        views,
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-4, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), "uint8")
    seconds = []
    for _ in range(arguments.steps + 2):
        start = time.perf_counter()
        model.train_on_batch(images)  # its loss is a number: the step has ended
        seconds.append(time.perf_counter() - start)
    flops = batch * keras_iwm.evaluation.flops_per_image(model, training=True)
    point = {
        "tokens": side**2,
        "depth": depth,
        "batch": batch,
        "seconds": statistics.median(seconds[2:]),
        "first_step_seconds": seconds[0],
        "gflop": flops / 1e9,
        "memory": peak_memory() - before,
        "memory_before": before,
    }
    print("point", json.dumps(point))


def peak_memory():
    """Return the most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def run_point(point):
    """Measure one point in a fresh process."""
    result = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--point", *map(str, point)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("point"))
    return json.loads(line.removeprefix("point"))


def plot(growth, title, path):
    """Draw time and memory against each size that was changed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained", dpi=120)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(2, len(growth), sharex="col", sharey="row")
    for column, (size, points) in enumerate(growth.items()):
        sizes = [point[size] for point in points]
        rate = statistics.median(point["seconds"] / point["gflop"] for point in points)
        top, bottom = panels[:, column]
        top.plot(sizes, [point["seconds"] for point in points], "o-", label="measured")
        top.plot(
            sizes,
            [rate * point["gflop"] for point in points],
            "--",
            color="grey",
            label=f"operations at {1 / rate:.3g} GFLOP/s",
        )
        bottom.plot(sizes, [point["memory"] for point in points], "o-")
        bottom.set_xlabel(NAMES[size], fontsize=8.5)
        top.set_yscale("log", base=2)
        top.yaxis.set_major_formatter("{x:g}")
        bottom.set_ylim(bottom=0)
        top.legend(fontsize=8, frameon=False)
        for axes in (top, bottom):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, sizes)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("seconds a step", fontsize=8.5)
    panels[1, 0].set_ylabel("memory, MiB", fontsize=8.5)
    figure.savefig(path)


def main():
    """Measure all points, and report them."""
    arguments = parse_arguments()
    if arguments.point:
        measure(arguments)
        return
    side, depth, batch = arguments.base
    wanted = {
        "tokens": [(other, depth, batch) for other in arguments.sides],
        "depth": [(side, other, batch) for other in arguments.depths],
        "batch": [(side, depth, other) for other in arguments.batches],
    }
    measured = {}
    print("patches  depth  batch  seconds/step   GFLOP  GFLOP/s  memory MiB")
    for point in dict.fromkeys(sum(wanted.values(), [])):
        result = measured[point] = run_point(point)
        print(
            f"{result['tokens']:7d} {result['depth']:6d} {result['batch']:6d} "
            f"{result['seconds']:13.3f} {result['gflop']:7.2f} "
            f"{result['gflop'] / result['seconds']:8.1f} {result['memory']:11.0f}",
            flush=True,
        )
    growth = {size: [measured[point] for point in wanted[size]] for size in wanted}
    backend = os.environ["KERAS_BACKEND"]
    if arguments.output:
        results = {"backend": backend, **vars(arguments), "growth": growth}
        with open(arguments.output, "w") as file:
            json.dump(results, file, indent=2)
    if arguments.figure:
        remat = ", remat" if arguments.remat else ""
        title = f"Training step, width {arguments.width}{remat}, {backend}, CPU"
        plot(growth, title, arguments.figure)


if __name__ == "__main__":
    main()
