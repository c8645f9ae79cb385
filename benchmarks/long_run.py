"""Memory, threads and files over a long run with all callbacks, and many evaluations.

    KERAS_BACKEND=torch python benchmarks/long_run.py --steps 5000 --evaluations 50

The model is tiny, so that steps are many. Prints the megabytes that the process holds
in each tenth of the run, and threads and open files at the beginning and the end.
"""

import argparse
import json
import os
import pathlib
import tempfile
import threading

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm import backbones, callbacks, datasets, evaluation, models, optimizers

STEPS_IN_EPOCH = 250


def megabytes():
    """Resident memory of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def handles():
    """Threads, and open files, sockets and pipes."""
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


class Watch(keras.callbacks.Callback):
    """Notes memory after each epoch."""

    def __init__(self):
        super().__init__()
        self.megabytes = []

    def on_epoch_end(self, epoch, logs=None):
        """Note it."""
        self.megabytes.append(megabytes())


def main():
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--evaluations", type=int, default=50)
    arguments = parser.parse_args()
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (8 * STEPS_IN_EPOCH, 16, 16, 3), "uint8")
    dataset = datasets.ImageArray(images, batch_size=8)
    model = models.ImageWorldModel.from_encoder(backbones.ViTEncoder(16, 4, 32, 2, 2))
    model.compile(optimizers.AdamW(1e-4))
    folder = pathlib.Path(tempfile.mkdtemp())
    watch, held_out = Watch(), images[:32]
    quality = callbacks.WorldModelQuality(
        held_out, bank=evaluation.RetrievalBank(16), every=1
    )
    model.fit(dataset, epochs=1, verbose=0, callbacks=[quality])
    before = handles()
    epochs = arguments.steps // STEPS_IN_EPOCH
    model.fit(
        dataset,
        initial_epoch=1,
        epochs=1 + epochs,
        verbose=2,
        callbacks=[
            quality,
            watch,
            callbacks.StopOnNonFinite(dataset=dataset),
            callbacks.CollapseWarning(),
            callbacks.HistoryFile(folder / "history.csv"),
            callbacks.RunCheckpoint(folder, every_steps=100, monitor="mrr", mode="max"),
        ],
    )
    tenths = [part.mean() for part in np.array_split(watch.megabytes, 10) if len(part)]
    evaluated = []
    for _ in tqdm(range(arguments.evaluations), desc="Evaluations"):
        evaluation.evaluate_world_model(
            model, held_out[:4], evaluation.RetrievalBank(16), verbose=False
        )
        evaluated.append(megabytes())
    result = {
        "backend": keras.backend.backend(),
        "steps": epochs * STEPS_IN_EPOCH,
        "megabytes_in_tenths": [round(float(value)) for value in tenths],
        "megabytes_of_evaluations": evaluated[:: max(1, len(evaluated) // 10)],
        "before": before,
        "after": handles(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
