"""Where the time of a training step goes, on JAX and a CPU.

    python benchmarks/profile_step.py --preset iwm_small_224 --batch-size 8

The step runs under JAX's profiler. What XLA compiled is known by name, and the name by
its place in the model, so that the time of each operation can be added up by part of
the model and direction. `products` are matrix products and what XLA joined to them;
`rest` is everything else: norms, GELU, softmax, copies. The time of all threads is
added up; `wall` is the time of the step as a clock sees it.
"""

import argparse
import collections
import os
import pathlib
import re
import tempfile

import turns

PARTS = ("target_encoder", "encoder", "predictor")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="iwm_small_224")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="steps to profile")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--output", help="path of the JSON file")
    return parser.parse_args()


def read_places(folder):
    """Dictionary from the names of compiled operations to their places in the model."""
    texts = pathlib.Path(folder).glob("*jit_train_step*after_optimizations.txt")
    pattern = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"', re.M)
    return dict(pattern.findall(max((p.read_text() for p in texts), key=len)))


def read_times(folder):
    """Dictionary from the names of compiled operations to nanoseconds, all threads."""
    import jax

    (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
    times = collections.Counter()
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            if "XLA" in line.name:
                for event in line.events:
                    times[event.name] += event.duration_ns
    return times


def main():
    """Profile some steps and print the table."""
    arguments = parse_arguments()
    folder = tempfile.TemporaryDirectory()
    # Read when the backend starts, hence before the import.
    os.environ["KERAS_BACKEND"] = "jax"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_dump_to={folder.name}/compiled"
    import jax
    import keras
    import numpy as np

    import keras_iwm

    keras.config.set_dtype_policy(arguments.precision)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset, load_weights=False, seed=0
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    count = arguments.batch_size * arguments.steps
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *model.image_size, 3)).astype("uint8")
    clock = turns.epoch_clock()

    def fit():
        model.fit(images, batch_size=arguments.batch_size, verbose=0, callbacks=[clock])
        return clock.seconds

    fit()
    fit()
    with jax.profiler.trace(f"{folder.name}/profile"):
        wall = fit()
    places = read_places(f"{folder.name}/compiled")
    times = read_times(f"{folder.name}/profile")
    folder.cleanup()

    rows = collections.defaultdict(lambda: [0.0, 0.0])
    for name, nanoseconds in times.items():
        if name in places:
            place = places[name]
            part = next((part for part in PARTS if f"{part})" in place), "other")
            if part in ("encoder", "predictor"):
                part += ", backward" if "transpose(" in place else ", forward"
            product = name.startswith("dot") or place.endswith("dot_general")
            rows[part][0 if product else 1] += nanoseconds / 1e6 / arguments.steps
    wall = wall * 1e3 / arguments.steps
    print(f"{arguments.preset}, batch {arguments.batch_size}, {arguments.precision}")
    print(f"{'milliseconds a step':24s} products     rest")
    for part in sorted(rows):
        print(f"{part:24s} {rows[part][0]:8.1f} {rows[part][1]:8.1f}")
    sums = [sum(column) for column in zip(*rows.values(), strict=True)]
    print(f"{'sum over cores':24s} {sums[0]:8.1f} {sums[1]:8.1f}")
    print(f"{'wall':24s} {wall:8.1f}")
    turns.write(
        arguments.output,
        {"arguments": vars(arguments), "rows": rows, "wall_milliseconds": wall},
    )


if __name__ == "__main__":
    main()
