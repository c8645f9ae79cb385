"""A whole run in one file after every epoch."""

import csv
import os
import pathlib
import re

import keras

from keras_iwm.arguments import as_count

_NAME = re.compile(r"epoch_(\d+)\.keras")
_UNFINISHED = "unfinished.keras"


class RunCheckpoint(keras.callbacks.Callback):
    """Saves model and optimizer after each epoch, so that a run can be resumed.

    `epoch_0012.keras` is the run after twelve epochs: weights, target encoder,
    optimizer state and schedules, and the seeds of an `ImageWorldModel`. The file is
    written under another name, brought to the disk and only then renamed, so that a
    crash at any moment leaves a whole checkpoint behind. The resumed run equals the
    uninterrupted one if the data's order is a function of the epoch, as that of
    `ImageArray` and `ImageFolder` is.

    In a run of several processes give the callback to the first one only.

    Args:
        folder: Path of the folder, made if missing. One folder per run.
        keep: Positive integer, how many of the newest checkpoints to keep.

    Raises:
        ValueError: If `keep` is less than 1; when an epoch begins, if the folder
            holds a checkpoint of a later epoch, for this run would mix with it.

    Example:

    ```python
    import os, tempfile
    import keras
    import numpy as np
    from keras_iwm.callbacks import RunCheckpoint
    from keras_iwm.datasets import ImageArray

    def make_model():
        layers = [keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((4, 4, 3)), *layers])
        model.compile("sgd", loss="mse")
        return model

    images = np.zeros((8, 4, 4, 3), "float32")
    folder = os.path.join(tempfile.mkdtemp(), "run")
    for epochs in (2, 3):  # The second time stands for a restart after a crash.
        dataset = ImageArray(images, labels=np.zeros(8), batch_size=4)
        model, initial_epoch = RunCheckpoint.resume(folder, dataset, make_model)
        model.fit(
            dataset,
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=[RunCheckpoint(folder)],
        )
    os.listdir(folder)  # ["epoch_0003.keras"]
    ```
    """

    def __init__(self, folder, keep=1):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.keep = as_count("keep", keep)

    @classmethod
    def resume(cls, folder, dataset, make_model, history=None):
        """Goes on with the run in a folder, or starts it: one call before `fit`.

        Args:
            folder: Path of the run's folder, which need not exist.
            dataset: The dataset to fit on; its `epoch` is set.
            make_model: Function without arguments that returns the new, compiled
                model; called only if there is no checkpoint.
            history: Optional path of the file of `keras.callbacks.CSVLogger`. The
                lines of epochs that will run again are taken out of it, so that
                `CSVLogger(history, append=initial_epoch > 0)` continues it.

        Returns:
            Tuple `(model, initial_epoch)`: the model, compiled, with its optimizer's
            state, and the number of epochs it has behind it, for `fit`.
        """
        found = cls.latest(folder)
        path, initial_epoch = found or (None, 0)
        model = keras.models.load_model(path) if found else make_model()
        dataset.epoch = initial_epoch
        if history is not None:
            _trim_history(pathlib.Path(history), initial_epoch)
        return model, initial_epoch

    @staticmethod
    def latest(folder):
        """Finds the newest checkpoint.

        Args:
            folder: Path of the run's folder, which need not exist.

        Returns:
            Tuple `(path, epoch)`: the file's path, and the number of epochs it has
            behind it, which is the `initial_epoch` for `fit`. `None` if there is no
            checkpoint.
        """
        checkpoints = _find_checkpoints(pathlib.Path(folder))
        if not checkpoints:
            return None
        epoch, path = checkpoints[-1]
        return str(path), epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Refuses a folder in which a run has come further."""
        found = self.latest(self.folder)
        if found and found[1] > epoch:
            raise ValueError(
                f"`folder` holds the checkpoint of a run that has come further: "
                f"{found[0]}, while this run starts at epoch {epoch}. Resume from "
                f"that file with `fit(initial_epoch={found[1]})`, or use another "
                "folder."
            )

    def on_epoch_end(self, epoch, logs=None):
        """Saves the run, then removes the oldest checkpoints."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / _UNFINISHED
        self.model.save(unfinished)
        with open(unfinished, "rb+") as file:
            # Else a power cut could leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(unfinished, self.folder / f"epoch_{epoch + 1:04d}.keras")
        for _, path in _find_checkpoints(self.folder)[: -self.keep]:
            path.unlink()


def _trim_history(path, num_epochs):
    """Drops the lines that a crash left behind of epochs that have no checkpoint."""
    if not path.is_file():
        return
    with open(path, newline="") as file:
        lines = list(csv.reader(file))
    # A crash in the first epoch leaves an empty file, one while writing half a line.
    epochs = set(map(str, range(num_epochs)))
    kept = lines[:1] + [
        line for line in lines[1:] if len(line) == len(lines[0]) and line[0] in epochs
    ]
    if kept != lines:
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows(kept)


def _find_checkpoints(folder):
    """Returns `(epoch, path)` of every whole checkpoint, the newest last."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)
