"""Two processes that save in shards; one of them is killed in the midst of a save.

python killed_worker.py FOLDER     # each with RANK, WORLD_SIZE, MASTER_ADDR and so on
"""

import os
import pathlib
import signal
import sys

import keras
import numpy as np
import torch

from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.datasets import ImageArray
from keras_iwm.saving import write_shards

STEPS = 3  # of an epoch


def make_dataset():
    """The images of all processes."""
    images = np.random.default_rng(0).normal(size=(12, 2, 2, 3)).astype("float32")
    return ImageArray(images, labels=np.arange(12) / 12, batch_size=4)


def make_model():
    """A model of a few weights, for it is the files that count."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((2, 2, 3)), *layers])
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    return model


def run(folder, epochs):
    """Goes on with the run in the folder, in shards, by all processes."""
    dataset = make_dataset()
    checkpoint = RunCheckpoint(folder, sharded=True)
    model, epoch = checkpoint.resume(dataset, make_model)
    model.fit(
        dataset, initial_epoch=epoch, epochs=epochs, verbose=0, callbacks=[checkpoint]
    )
    return model, epoch


def main():
    """One epoch that is saved, and one whose save is cut off."""
    folder = pathlib.Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    run(folder, 1)
    stream = write_shards.stream_safetensors

    def half(path, *arguments):
        stream(path, *arguments)
        if torch.distributed.get_rank() == 1:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    write_shards.stream_safetensors = half
    run(folder, 2)


if __name__ == "__main__":
    main()
