import keras
import numpy as np

from keras_iwm.callbacks import HistoryFile


class Sometimes(keras.callbacks.Callback):
    """Log a value at every second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch % 2:
            logs["mrr"] = 0.25 + epoch


def fit(path, epochs, initial_epoch=0):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model.fit(
        np.ones((4, 3)),
        np.zeros((4, 1)),
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        callbacks=[Sometimes(), HistoryFile(path)],
    ).history["loss"]


def test_epochs_without_a_value_have_empty_cells(tmp_path):
    losses = fit(tmp_path / "run" / "history.csv", 3)
    assert (tmp_path / "run" / "history.csv").read_text().splitlines() == [
        "epoch,loss,mrr",
        f"0,{losses[0]},",
        f"1,{losses[1]},1.25",
        f"2,{losses[2]},",
    ]


def test_a_run_that_goes_on_replaces_what_runs_again(tmp_path):
    path = tmp_path / "history.csv"
    first = fit(path, 4)
    second = fit(path, 4, initial_epoch=2)
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row[1]) for row in rows] == first[:2] + second
