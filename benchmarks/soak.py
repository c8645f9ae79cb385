"""A long run of several processes: memory, threads, and whether copies stay equal.

    python benchmarks/soak.py --steps 2000
    python benchmarks/soak.py --steps 2000 --backends torch --processes 4

They are processes of this machine, with all callbacks that a run has. The model is
tiny, so that steps are many. Prints the megabytes that the first process holds in each
tenth of the run, threads and open files at its beginning and its end, and how many of
the copies' weights, teachers, moments and seeds differ in any bit.
"""

import argparse
import hashlib
import json
import tempfile

import together
import turns

BATCH, STEPS_IN_EPOCH = 8, 100


def is_everywhere(content):
    """Whether all processes have the same bytes."""
    from keras_iwm.backend import ask_all

    most = 2**31 - 1
    number = int.from_bytes(hashlib.sha256(content).digest()) % most
    return ask_all(number)() == number and ask_all(most - number)() == most - number


def work(arguments):
    """Train; the first process prints what it has seen."""
    import keras
    import long_run
    import numpy as np
    from keras import ops

    import keras_iwm
    from keras_iwm import callbacks
    from keras_iwm.backend import alone

    together.join(arguments)
    keras.utils.set_random_seed(0)
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (BATCH * STEPS_IN_EPOCH, 16, 16, 3), "uint8")
    dataset = keras_iwm.datasets.ImageArray(images, batch_size=BATCH)
    dataset.share = arguments.process_index, arguments.num_processes
    model = keras_iwm.models.ImageWorldModel.from_encoder(
        keras_iwm.backbones.ViTEncoder(16, 4, 32, 2, 2)
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-4))
    bank = keras_iwm.evaluation.RetrievalBank(16)
    quality = callbacks.WorldModelQuality(images[:32], bank=bank, every=5)
    watch = long_run.Watch()
    model.fit(dataset, epochs=1, verbose=0, callbacks=[quality])
    before, epochs = long_run.handles(), arguments.steps // STEPS_IN_EPOCH
    model.fit(
        dataset,
        initial_epoch=1,
        epochs=1 + epochs,
        verbose=0,
        callbacks=[
            quality,
            watch,
            callbacks.StopOnNonFinite(dataset=dataset),
            callbacks.CollapseWarning(),
            callbacks.RunCheckpoint(arguments.folder, every_steps=50),
        ],
    )
    after = long_run.handles()
    with alone(model):
        variables = [*model.variables, *model.optimizer.variables]
        values = [ops.convert_to_numpy(variable) for variable in variables]
    differ = sum(not is_everywhere(value.tobytes()) for value in values)
    if arguments.process_index == 0:
        tenths = [t.mean() for t in np.array_split(watch.megabytes, 10) if len(t)]
        result = {
            "backend": keras.backend.backend(),
            "processes": arguments.num_processes,
            "steps": epochs * STEPS_IN_EPOCH,
            "megabytes_in_tenths": [round(float(value)) for value in tenths],
            "before": before,
            "after": after,
            "variables": len(values),
            "variables_that_differ": differ,
        }
        print(json.dumps(result, indent=2))


def main():
    """Run on each backend, one behind the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1800, help="at most")
    parser.add_argument(
        "--backends", nargs="+", choices=("jax", "torch"), default=("jax", "torch")
    )
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    together.add_options(parser)
    arguments = parser.parse_args()
    if arguments.coordinator:
        work(arguments)
        return
    for backend in turns.installed(arguments.backends):
        with tempfile.TemporaryDirectory() as folder:
            options = ["--steps", str(arguments.steps), "--folder", folder]
            place = __file__, options, backend, arguments.processes
            print(together.run_together(*place, seconds=arguments.seconds))


if __name__ == "__main__":
    main()
