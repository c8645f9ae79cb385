"""Images or clips per second of presets, and first-step time, on each backend.

    python benchmarks/train_step.py --preset iwm_tiny_96 --batch-size 32
    python benchmarks/train_step.py --preset iwm_tiny_96 mae_tiny_96 moco_tiny_96
    python benchmarks/train_step.py --backends torch --compiled
    python benchmarks/train_step.py --preset vjepa_tiny_64 dynamics_tiny_64 \
        --batch-size 16

Each preset and backend runs in a process of its own. The processes take turns, one
block of steps at a time, so that a noisy machine disturbs them alike; the median over
the blocks is printed, with the spread and the operations of a second (as
`flops_per_image` counts them), and written as JSON with --output. Where a method takes
clips, a clip counts as an image.
"""

import argparse
import sys
import time

import turns


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", nargs="+", default=["iwm_tiny_32"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=5, help="turns of each backend")
    parser.add_argument("--steps", type=int, default=10, help="steps in a block")
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--backends", nargs="+", choices=turns.BACKENDS, default=turns.BACKENDS
    )
    parser.add_argument(
        "--compiled", action="store_true", help="Torch also with jit_compile=True"
    )
    parser.add_argument(
        "--default-allocator",
        action="store_true",
        help="also with glibc's own settings, which give freed memory back",
    )
    parser.add_argument("--before", help="an older checkout, to take turns with")
    parser.add_argument("--output", help="path of the JSON file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(arguments):
    """Run blocks of steps whenever a line comes in, and answer with the seconds."""
    import keras
    import numpy as np

    import keras_iwm

    keras.config.set_dtype_policy(arguments.precision)
    recipe = keras_iwm.optimizers.pretraining_recipe(10_000, arguments.batch_size)
    (preset,) = arguments.preset
    # An older checkout knows one method.
    method_of = getattr(keras_iwm.models, "method_of", None)
    method = method_of(preset) if method_of else keras_iwm.models.ImageWorldModel
    model = method.from_preset(preset, load_weights=False, seed=0)
    if hasattr(model, "ema_momentum"):
        model.ema_momentum = recipe.ema_momentum
    # XLA on TensorFlow too: its default leaves it off on machines without a GPU.
    compiled = keras.backend.backend() == "tensorflow" or arguments.worker == "compiled"
    model.compile(recipe.optimizer, jit_compile=True if compiled else "auto")
    rng = np.random.default_rng(0)
    count = arguments.batch_size * arguments.steps
    over_time = hasattr(model, "action_dim")
    shape = (*model.image_size, 3)
    if over_time:
        shape = (model.num_frames, *shape)
    elif getattr(model, "takes_clips", False):
        shape = model.encoder.images_shape[1:]
    data = rng.integers(0, 256, (count, *shape)).astype("uint8")
    if over_time:
        numbers = {"actions": (model.num_frames - 1, model.action_dim)}
        if model.state_dim:
            numbers["states"] = (model.num_frames, model.state_dim)
        data = {"frames": data} | {
            name: rng.uniform(-1, 1, (count, *shape)).astype("float32")
            for name, shape in numbers.items()
        }

    clock = turns.epoch_clock()

    def seconds_of(count):
        model.fit(
            keras.tree.map_structure(lambda part: part[:count], data),
            batch_size=arguments.batch_size,
            verbose=0,
            callbacks=[clock],
        )
        return clock.seconds

    start = time.perf_counter()
    seconds_of(arguments.batch_size)
    first = time.perf_counter() - start
    seconds_of(count)  # the loop around the steps warms up too
    flops = keras_iwm.evaluation.flops_per_image(model, training=True)
    facts = {"first_step_seconds": first, "flops_per_image": flops}
    turns.serve(facts, lambda: seconds_of(count))


def main():
    """Start a worker for each backend and let them take turns."""
    arguments = parse_arguments()
    if arguments.worker:
        work(arguments)
        return
    workers = {}
    for backend in turns.installed(arguments.backends):
        for preset in arguments.preset:
            command = [*sys.argv[1:], "--preset", preset, "--worker"]
            name = f"{preset}, {backend}"
            usual = [*command, "as usual"]
            workers[name] = turns.Worker(__file__, usual, backend)
            if arguments.compiled and backend == "torch":
                workers[f"{name}, compiled"] = turns.Worker(
                    __file__, [*command, "compiled"], backend
                )
            if arguments.before:
                workers[f"{name}, before"] = turns.Worker(
                    __file__, usual, backend, {"PYTHONPATH": arguments.before}
                )
            if arguments.default_allocator:
                workers[f"{name}, default allocator"] = turns.Worker(
                    __file__, usual, backend, keep_memory=False
                )
    turns.take_turns(workers.values(), arguments.blocks)
    results = {}
    print(f"Batch {arguments.batch_size}, {arguments.precision}")
    print(f"{'':40s} images/s   lowest  highest  GFLOP/s  first step")
    for name, worker in workers.items():
        worker.close()
        row = turns.rates_of(worker, arguments.steps * arguments.batch_size)
        row.update(worker.facts)
        row["gflops"] = row["median"] * row["flops_per_image"] / 1e9
        results[name] = row
        print(
            f"{name:39s} {row['median']:9.1f} {row['lowest']:8.1f} "
            f"{row['highest']:8.1f} {row['gflops']:8.1f} "
            f"{row['first_step_seconds']:9.1f} s"
        )
    turns.write(arguments.output, {"arguments": vars(arguments), "results": results})


if __name__ == "__main__":
    main()
