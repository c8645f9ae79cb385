"""What the making of views and masks costs within a training step.

    python benchmarks/views.py --preset iwm_small_224 --batch-size 8

For each backend, one process trains on plain images, from which the views are made in
the step, and one on the same number of views that are given. They take turns; what is
printed is the share of the step that the views take. With `--parts` nothing is trained:
the views and each part of them alone are compiled as the step compiles them, and timed.
"""

import argparse
import statistics
import sys
import time

import turns


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="iwm_small_224")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=5, help="turns of each process")
    parser.add_argument("--steps", type=int, default=4, help="steps in a block")
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--backends", nargs="+", choices=turns.BACKENDS, default=turns.BACKENDS
    )
    parser.add_argument(
        "--parts", action="store_true", help="time each part of the views instead"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="with jit_compile=True on Torch too"
    )
    parser.add_argument("--output", help="path of the JSON file")
    parser.add_argument(
        "--worker", choices=("made", "given", "parts"), help=argparse.SUPPRESS
    )
    return parser.parse_args()


def work(arguments):
    """Train whenever asked, on images or on views."""
    import keras
    import numpy as np

    import keras_iwm

    keras.config.set_dtype_policy(arguments.precision)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset, load_weights=False, seed=0
    )
    if arguments.worker == "parts":
        times = {
            name: milliseconds(function, *tensors)
            for name, (function, *tensors) in parts_of(
                model.view_generator, arguments.batch_size
            ).items()
        }
        turns.serve(times, None)
        return
    # XLA on TensorFlow too: its default leaves it off on machines without a GPU.
    always = keras.backend.backend() == "tensorflow" or arguments.compiled
    jit_compile = True if always else "auto"
    model.compile(
        keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04), jit_compile=jit_compile
    )
    count = arguments.batch_size * arguments.steps
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (count, *model.image_size, 3)).astype("float32")
    if arguments.worker == "given":
        views = model.view_generator(data, training=True)
        data = {key: keras.ops.convert_to_numpy(view) for key, view in views.items()}

    clock = turns.epoch_clock()

    def run_block():
        model.fit(data, batch_size=arguments.batch_size, verbose=0, callbacks=[clock])
        return clock.seconds

    run_block()
    run_block()
    turns.serve({}, run_block)


def parts_of(views, batch_size):
    """Functions and their arguments by name: what a `ViewGenerator`'s call is made of.

    Operations of a chain are indented below it.
    """
    import numpy as np
    from keras import ops

    rng = np.random.default_rng(0)
    shape = (batch_size, *views.image_size, views.num_channels)
    images = ops.convert_to_tensor(rng.integers(0, 256, shape).astype("float32"))
    pixels = images / 255.0

    def uniforms(count):
        return ops.convert_to_tensor(rng.random((batch_size, count), "float32"))

    boxes = views.crop.sample(uniforms(views.crop.num_draws), *views.image_size)
    parts = {
        "all": (lambda images: views(images, training=False), images),
        "crop": (views.crop.apply, images, boxes),
        "mask": (views.mask, uniforms(views.mask.num_draws)),
    }
    space = views.action_space
    for transform in (*space.shared.transforms, *space.destructive.transforms):
        parameters = transform.sample(uniforms(transform.num_draws))
        parts[transform.name] = (transform.apply, pixels, parameters)
        for step in getattr(transform, "transforms", ()):
            parameters = step.sample(uniforms(step.num_draws))
            parts[f"  {step.name}"] = (step.apply, pixels, parameters)
    return parts


def milliseconds(function, *tensors):
    """Median time of a function that is compiled as a train step is."""
    import keras

    run = function
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(function)
        run = lambda *tensors: jax.block_until_ready(compiled(*tensors))  # noqa: E731
    elif keras.backend.backend() == "tensorflow":
        import tensorflow

        run = tensorflow.function(function, jit_compile=True)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        run(*tensors)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[5:])


def compare_parts(arguments):
    """Print the time of each part on each backend."""
    tables = {}
    for backend in turns.installed(arguments.backends):
        options = [*sys.argv[1:], "--worker", "parts"]
        worker = turns.Worker(__file__, options, backend)
        tables[backend] = worker.facts
        worker.close()
    print(f"{arguments.preset}, batch {arguments.batch_size}, milliseconds a call")
    print(f"{'':16s}" + "".join(f"{backend:>12s}" for backend in tables))
    for part in next(iter(tables.values())):
        row = "".join(f"{table[part]:12.2f}" for table in tables.values())
        print(f"{part:16s}{row}")
    turns.write(arguments.output, {"arguments": vars(arguments), "results": tables})


def main():
    """Start two workers for each backend and compare them."""
    arguments = parse_arguments()
    if arguments.worker:
        work(arguments)
        return
    if arguments.parts:
        compare_parts(arguments)
        return
    pairs = turns.start_pairs(__file__, arguments.backends, ("made", "given"))
    workers = [worker for pair in pairs.values() for worker in pair]
    turns.take_turns(workers, arguments.blocks)
    results = {}
    print(f"{arguments.preset}, batch {arguments.batch_size}, {arguments.precision}")
    print("backend      ms a step  with views given  share of the views")
    for backend, (made, given) in pairs.items():
        row = {
            "made_seconds": statistics.median(made.blocks) / arguments.steps,
            "given_seconds": statistics.median(given.blocks) / arguments.steps,
            "share": statistics.median(
                1 - without / whole
                for whole, without in zip(made.blocks, given.blocks, strict=True)
            ),
        }
        results[backend] = row
        print(
            f"{backend:11s} {1e3 * row['made_seconds']:10.1f} "
            f"{1e3 * row['given_seconds']:17.1f} {row['share']:19.1%}"
        )
    for worker in workers:
        worker.close()
    turns.write(arguments.output, {"arguments": vars(arguments), "results": results})


if __name__ == "__main__":
    main()
