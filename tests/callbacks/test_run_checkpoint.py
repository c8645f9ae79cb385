import keras
import numpy as np
import pytest

from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.datasets import ImageArray


def make_dataset():
    rng = np.random.default_rng(0)
    return ImageArray(rng.normal(size=(12, 2, 2, 3)), rng.normal(size=12), batch_size=4)


def make_model():
    model = keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    decay = keras.optimizers.schedules.CosineDecay(0.1, 12)
    model.compile(keras.optimizers.SGD(decay, momentum=0.9), loss="mse")
    return model


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    model = make_model()
    start = model.get_weights()
    model.fit(make_dataset(), epochs=4, verbose=0)
    whole = model.get_weights()

    model = make_model()
    model.set_weights(start)
    callback = RunCheckpoint(tmp_path / "run")
    model.fit(make_dataset(), epochs=2, verbose=0, callbacks=[callback])
    path, epoch = RunCheckpoint.latest(tmp_path / "run")
    assert epoch == 2
    assert path.endswith("epoch_0002.keras")

    resumed = keras.models.load_model(path)
    assert int(resumed.optimizer.iterations) == 6
    for variable, saved in zip(
        resumed.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(saved)
        )
    dataset = make_dataset()
    dataset.epoch = epoch
    resumed.fit(dataset, initial_epoch=epoch, epochs=4, verbose=0, callbacks=[callback])
    for weight, expected in zip(resumed.get_weights(), whole, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-7)
    assert RunCheckpoint.latest(tmp_path / "run")[1] == 4


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    for keep, names in ((1, [5]), (2, [4, 5])):
        folder = tmp_path / str(keep)
        callback = RunCheckpoint(folder, keep=keep)
        make_model().fit(make_dataset(), epochs=5, verbose=0, callbacks=[callback])
        assert sorted(path.name for path in folder.iterdir()) == [
            f"epoch_{number:04d}.keras" for number in names
        ]
    with pytest.raises(ValueError, match="`keep`"):
        RunCheckpoint(tmp_path, keep=0)


def test_a_crash_while_writing_loses_nothing(tmp_path, monkeypatch):
    model = make_model()
    callback = RunCheckpoint(tmp_path)
    model.fit(make_dataset(), epochs=1, verbose=0, callbacks=[callback])
    before = (tmp_path / "epoch_0001.keras").read_bytes()

    def half_a_save(path):
        with open(path, "wb") as file:
            file.write(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save", half_a_save)
    with pytest.raises(KeyboardInterrupt):
        callback.on_epoch_end(1)
    path, epoch = RunCheckpoint.latest(tmp_path)
    assert epoch == 1
    assert (tmp_path / "epoch_0001.keras").read_bytes() == before
    keras.models.load_model(path)

    # The next save takes the place of the half-written file.
    monkeypatch.undo()
    callback.on_epoch_end(1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0002.keras"]


def test_latest_looks_at_whole_checkpoints_only(tmp_path):
    assert RunCheckpoint.latest(tmp_path / "missing") is None
    assert RunCheckpoint.latest(tmp_path) is None
    for name in ("epoch_0009.keras", "epoch_10000.keras", "epoch_0011.keras.tmp",
                 "unfinished.keras", "epoch_final.keras"):  # fmt: skip
        (tmp_path / name).touch()
    path, epoch = RunCheckpoint.latest(tmp_path)
    assert epoch == 10000
    assert path == str(tmp_path / "epoch_10000.keras")


def test_a_run_that_came_further_is_not_overwritten(tmp_path):
    model = make_model()
    model.fit(make_dataset(), epochs=2, verbose=0, callbacks=[RunCheckpoint(tmp_path)])
    weights = model.get_weights()
    with pytest.raises(ValueError, match="initial_epoch=2"):
        model.fit(
            make_dataset(), epochs=1, verbose=0, callbacks=[RunCheckpoint(tmp_path)]
        )
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])


def run(folder, epochs, *callbacks):
    """One start of a script that resumes."""
    dataset, history = make_dataset(), folder / "history.csv"
    keras.utils.set_random_seed(0)
    model, initial_epoch = RunCheckpoint.resume(folder, dataset, make_model, history)
    logger = keras.callbacks.CSVLogger(history, append=initial_epoch > 0)
    model.fit(
        dataset,
        initial_epoch=initial_epoch,
        epochs=epochs,
        verbose=0,
        callbacks=[logger, *callbacks, RunCheckpoint(folder)],
    )
    return model, initial_epoch


class Kill(keras.callbacks.Callback):
    """Ends the run after an epoch was logged and before it was saved."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_one_call_resumes_run_and_history(tmp_path):
    folder = tmp_path / "part"
    folder.mkdir()
    (tmp_path / "whole").mkdir()
    whole, _ = run(tmp_path / "whole", 4)
    (folder / "history.csv").touch()  # as a kill in the first epoch leaves it
    for killed in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            run(folder, 4, Kill(killed))
    with open(folder / "history.csv", "a") as file:
        file.write("3")  # half a line
    model, initial_epoch = run(folder, 4)
    assert initial_epoch == 2
    for weight, expected in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-7)
    histories = [
        np.genfromtxt(path / "history.csv", delimiter=",", names=True)
        for path in (tmp_path / "whole", folder)
    ]
    assert histories[1]["epoch"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-5)


def test_resuming_keeps_a_history_that_ends_with_the_checkpoint(tmp_path):
    run(tmp_path, 2)
    before = (tmp_path / "history.csv").read_bytes()
    dataset = make_dataset()

    def make_none():
        raise AssertionError("there is a checkpoint")

    history = tmp_path / "history.csv"
    _, epoch = RunCheckpoint.resume(str(tmp_path), dataset, make_none, str(history))
    assert (epoch, dataset.epoch) == (2, 2)
    assert history.read_bytes() == before
