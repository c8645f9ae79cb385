"""Seconds to save and to load a model, as one Keras file and in shards.

    python benchmarks/checkpoints.py --preset iwm_small_224
    torchrun --nproc-per-node 2 benchmarks/checkpoints.py --preset iwm_small_224

The model has its optimizer's moments, as after a step. Both kinds take turns, with a
plain file of as many bytes, written and brought to the disk, as what the disk can do;
medians are shown. In several processes of Torch the first one writes the file while
the others wait, and all of them write the shards. What is loaded was just written: it
comes from memory, not from the disk. Loading is what `RunCheckpoint.resume` does:
check all bytes, make the model, give it its values.
"""

import argparse
import math
import os
import pathlib
import shutil
import statistics
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "torch")


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", default="iwm_small_224")
    add("--turns", type=int, default=3)
    add("--folder", help="where to write; a temporary folder by default")
    return parser.parse_args()


def start_processes():
    """Join the processes that torchrun has started, if it has."""
    if "RANK" in os.environ:
        import torch

        torch.distributed.init_process_group("gloo")


def make_model(preset):
    """A model with the state of its optimizer."""
    import keras_iwm

    model = keras_iwm.models.method_of(preset).from_preset(preset, load_weights=False)
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    model.optimizer.build(model.trainable_variables)
    return model


def write_plain(path, size):
    """Write a file as fast as the disk takes it."""
    block = os.urandom(2**22)
    with open(path, "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def measure(action, seconds):
    """Note the seconds that all processes need, waiting for each other."""
    from keras_iwm.backend import ask_all

    ask_all(0)()
    start = time.perf_counter()
    action()
    ask_all(0)()
    seconds.append(time.perf_counter() - start)


def main():
    """Take turns and print."""
    arguments = parse_arguments()
    start_processes()
    import keras

    from keras_iwm.backend import count_processes, process_index
    from keras_iwm.callbacks.run_file import read_run, write_run
    from keras_iwm.saving.write_shards import groups_of

    rank, count = process_index(), count_processes()
    model = make_model(arguments.preset)
    variables = [v for group in groups_of(model).values() for v in group]
    size = sum(4 * math.prod(variable.shape) for variable in variables)
    place = arguments.folder or os.path.join(tempfile.gettempdir(), "checkpoints")
    place = pathlib.Path(place)
    place.mkdir(exist_ok=True)
    file, shards, plain = place / "run.keras", place / "run", place / "plain"

    def first(action):
        return lambda: action() if rank == 0 else None

    def load(path):
        make, _, _ = read_run(path)
        make()

    run = {"best": None, "record": []}
    rows = {
        "plain file": first(lambda: write_plain(plain, size)),
        "save .keras": first(lambda: write_run(file, model, run, [])),
        "save shards": lambda: write_run(shards, model, run, []),
        "load .keras": lambda: load(file),
        "load shards": lambda: load(shards),
    }
    seconds = {name: [] for name in rows}
    for _ in range(arguments.turns):
        for name, action in rows.items():
            measure(action, seconds[name])
    if rank == 0:
        backend = keras.backend.backend()
        print(
            f"{arguments.preset}, {backend}, {count} process(es), {size / 1e6:,.0f} MB"
        )
        print("| | seconds | MB/s |\n|---|---|---|")
        for name, values in seconds.items():
            middle = statistics.median(values)
            low, high = min(values), max(values)
            print(
                f"| {name} | {middle:.2f} ({low:.2f}, {high:.2f}) "
                f"| {size / 1e6 / middle:,.0f} |"
            )
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
