"""The log of a run as a CSV file."""

import csv

import keras

from keras_iwm.arguments import as_path
from keras_iwm.type_aliases import Logs, Path
from keras_iwm.whole_file import whole_file


class HistoryFile(keras.callbacks.Callback):
    """Writes what `fit` logs as a CSV file, one line for each epoch.

    Unlike `keras.callbacks.CSVLogger`, it takes values that only some epochs have, as
    those of `WorldModelQuality`: the cells of the others are empty. There are no
    columns of a validation that there was not. A crash leaves the file whole, and a run
    that goes on continues it: lines of epochs that run again are replaced.

    Put it behind the callbacks whose numbers it shall write.

    Args:
        history_csv: Path of the file, made with its folder if missing.

    Example:

    ```python
    import os, tempfile
    import keras
    import numpy as np
    from keras_iwm.callbacks import HistoryFile

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    path = os.path.join(tempfile.mkdtemp(), "history.csv")
    data = np.zeros((4, 3)), np.zeros((4, 1))
    model.fit(*data, epochs=2, callbacks=[HistoryFile(path)])
    open(path).read()  # "epoch,loss ..."
    ```
    """

    def __init__(self, history_csv: Path) -> None:
        super().__init__()
        self.path = as_path("history_csv", history_csv)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes the file anew, with this epoch's line."""
        rows = []
        if self.path.is_file():
            with open(self.path, newline="") as file:
                rows = [
                    row for row in csv.DictReader(file) if int(row["epoch"]) < epoch
                ]
        values = {name: float(value) for name, value in (logs or {}).items()}
        rows.append({"epoch": epoch, **values})
        names = sorted({name for row in rows for name in row} - {"epoch"})
        with (
            whole_file(self.path) as unfinished,
            open(unfinished, "w", newline="") as file,
        ):
            writer = csv.DictWriter(file, ["epoch", *names], restval="")
            writer.writeheader()
            writer.writerows(rows)
