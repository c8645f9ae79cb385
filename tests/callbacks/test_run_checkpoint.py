import contextlib
import os
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.datasets import ImageArray
from keras_iwm.saving import write_shards

STEPS = 5  # of an epoch
once = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no backend has a part in it"
)


def make_dataset():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(22, 2, 2, 3)).astype("float32")
    return ImageArray(images, rng.normal(size=22).astype("float32"), batch_size=4)


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3, seed=3),
            keras.layers.Dense(1),
        ]
    )
    decay = keras.optimizers.schedules.CosineDecay(0.1, 4 * STEPS)
    model.compile(keras.optimizers.Adam(decay), loss="mse", metrics=["mae"])
    return model


class Kill(keras.callbacks.Callback):
    """Ends a run after so many steps, or after an epoch was logged and not saved."""

    def __init__(self, steps=None, epoch=None):
        super().__init__()
        self.steps, self.epoch = steps, epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.steps is not None:
            self.steps -= 1
            if self.steps == 0:
                raise RuntimeError("killed")

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("killed")


def run(folder, epochs=4, kill=None, **arguments):
    """One start of a script that resumes, and that may be killed."""
    dataset = make_dataset()
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=9, restore_best_weights=True
    )
    checkpoint = RunCheckpoint(folder, callbacks=[stopping], **arguments)
    history = folder / "history.csv"
    folder.mkdir(exist_ok=True)
    model, initial_epoch = checkpoint.resume(dataset, make_model, history)
    logger = keras.callbacks.CSVLogger(history, append=initial_epoch > 0)
    callbacks = [logger, stopping, *([kill] if kill else []), checkpoint]
    fitted = model.fit(
        dataset,
        validation_data=dataset,
        initial_epoch=initial_epoch,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )
    return model, fitted, stopping


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder, every_steps=2)


def assert_equal_runs(folder, result, whole):
    """Bit for bit: weights, optimizer, histories, and what another callback noted."""
    model, fitted, stopping = result
    whole_folder, whole_model, whole_fitted, whole_stopping = whole
    for one, two in zip(
        [*model.weights, *model.optimizer.variables],
        [*whole_model.weights, *whole_model.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two)
        )
    assert fitted.history == whole_fitted.history
    assert fitted.epoch == whole_fitted.epoch
    assert (stopping.wait, stopping.best) == (whole_stopping.wait, whole_stopping.best)
    file = "history.csv"
    assert (folder / file).read_bytes() == (whole_folder / file).read_bytes()


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_run_killed_at_any_step_equals_the_uninterrupted_one(tmp_path, whole):
    # Before the first save, within epochs, at an end, after an epoch's log.
    kills = [Kill(1), Kill(3), Kill(2), Kill(4), Kill(epoch=1), Kill(epoch=3)]
    for kill in kills:
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path, kill=kill, every_steps=2)
    assert_equal_runs(tmp_path, run(tmp_path, every_steps=2), whole)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_run_in_shards_goes_on_too(tmp_path, whole):
    for kill in (Kill(3), Kill(4), Kill(epoch=2)):
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path, kill=kill, every_steps=2, sharded=True)
    # It may go on in one file, and back.
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, kill=Kill(3), every_steps=2)
    assert names_in(tmp_path) == ["epoch_0002_step_000004", "epoch_0003.keras"]
    result = run(tmp_path, every_steps=2, sharded=True)
    assert_equal_runs(tmp_path, result, whole)
    assert names_in(tmp_path) == ["epoch_0003_step_000004", "epoch_0004"]


@once
def test_shards_that_a_crash_left_behind_count_for_nothing(
    tmp_path, monkeypatch, whole
):
    run(tmp_path, epochs=2, sharded=True, keep=1)
    stream = write_shards.stream_safetensors

    def half_a_shard(path, *arguments):
        stream(path, *arguments)
        os.truncate(path, path.stat().st_size // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write_shards, "stream_safetensors", half_a_shard)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, sharded=True, keep=1)
    assert names_in(tmp_path) == ["epoch_0002", "epoch_0003"]  # the last one in part
    assert RunCheckpoint.latest(tmp_path)[1:] == (2, 0)
    monkeypatch.undo()
    # What lies there of another run's shards is gone with the next save.
    (tmp_path / "epoch_0003" / "shard_00007.safetensors").touch()
    (tmp_path / "epoch_0002_step_000003").mkdir()
    result = run(tmp_path, sharded=True, keep=2)
    assert_equal_runs(tmp_path, result, whole)
    assert names_in(tmp_path) == ["epoch_0003", "epoch_0004"]
    assert names_in(tmp_path / "epoch_0004") == [
        "index.json",
        "shard_00000.safetensors",
    ]


@once
def test_the_one_before_damaged_shards_is_used(tmp_path, whole):
    run(tmp_path, epochs=3, sharded=True)
    damage(tmp_path / "epoch_0003" / "shard_00000.safetensors")
    with pytest.warns(UserWarning, match=r"shard_00000.*damaged.*set aside"):
        result = run(tmp_path, sharded=True)
    assert_equal_runs(tmp_path, result, whole)
    assert "epoch_0003.damaged" in names_in(tmp_path)


def test_a_run_killed_behind_its_last_checkpoint_ends_as_the_whole_one(tmp_path, whole):
    run(tmp_path / "run", every_steps=2)
    assert_equal_runs(tmp_path / "run", run(tmp_path / "run"), whole)


def test_seconds_decide_too(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, kill=Kill(4), every_seconds=1e-9)
    assert RunCheckpoint.latest(tmp_path)[1:] == (0, 3)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, kill=Kill(1), every_seconds=1e9)
    assert RunCheckpoint.latest(tmp_path)[1:] == (0, 3)


@once
def test_the_newest_and_the_best_checkpoints_are_kept(tmp_path):
    for keep, names in ((1, [4]), (2, [3, 4])):
        folder = tmp_path / str(keep)
        run(folder, keep=keep)
        assert names_in(folder) == [f"epoch_{n:04d}.keras" for n in names]
    for mode in ("min", "max"):
        folder = tmp_path / mode
        _, fitted, _ = run(folder, epochs=3, monitor="val_loss", mode=mode, keep=9)
        values = np.array(fitted.history["val_loss"])
        best = 1 + (values.argmin() if mode == "min" else values.argmax())
        weights = [
            keras.models.load_model(folder / name).get_weights()
            for name in ("best.keras", f"epoch_{best:04d}.keras")
        ]
        for one, two in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, two)


@once
def test_a_value_that_is_never_logged_is_named(tmp_path):
    with pytest.warns(UserWarning, match="`monitor`, 'typo'.*'val_loss'"):
        run(tmp_path, epochs=1, monitor="typo")


@once
def test_the_best_value_goes_on_with_the_run(tmp_path):
    dataset = make_dataset()
    values = iter([3.0, 1.0, 2.0, float("nan"), 0.5])

    class Log(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["value"] = next(values)

    written = []
    for epochs in range(1, 6):
        checkpoint = RunCheckpoint(tmp_path, monitor="value")
        model, epoch = checkpoint.resume(dataset, make_model)
        model.fit(
            dataset,
            initial_epoch=epoch,
            epochs=epochs,
            verbose=0,
            callbacks=[Log(), checkpoint],
        )
        written.append((tmp_path / "best.keras").stat().st_mtime_ns)
    assert [one == two for one, two in zip(written, written[1:], strict=False)] == [
        False, True, True, False
    ]  # fmt: skip


@once
def test_a_crash_or_a_full_disk_while_writing_loses_nothing(tmp_path, monkeypatch):
    run(tmp_path, epochs=1)
    before = (tmp_path / "epoch_0001.keras").read_bytes()
    save = keras.Model.save

    def half_a_save(self, path):
        save(self, path)
        os.truncate(path, len(before) // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", half_a_save)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path)
    assert names_in(tmp_path) == ["epoch_0001.keras"]
    assert (tmp_path / "epoch_0001.keras").read_bytes() == before
    # A kill leaves the half-written file, and the next save takes its place.
    (tmp_path / "unfinished.keras").write_bytes(before[:100])
    monkeypatch.undo()
    run(tmp_path)
    assert names_in(tmp_path) == ["epoch_0003.keras", "epoch_0004.keras"]


def damage(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped bit", "half", "empty", "text"])
def test_the_one_before_a_damaged_checkpoint_is_used(tmp_path, whole, how):
    if how != "flipped bit" and keras.backend.backend() != "torch":
        pytest.skip("once is enough")
    run(tmp_path, epochs=3, every_steps=2)
    newest = tmp_path / "epoch_0003.keras"
    if how == "flipped bit":
        damage(newest)
    elif how == "half":
        os.truncate(newest, newest.stat().st_size // 2)
    else:
        newest.write_text("" if how == "empty" else "not a checkpoint")
    with pytest.warns(UserWarning, match=r"epoch_0003\.keras is damaged.*set aside"):
        result = run(tmp_path, every_steps=2)
    assert_equal_runs(tmp_path, result, whole)
    assert "epoch_0003.damaged" in names_in(tmp_path)


@once
def test_without_a_whole_checkpoint_nothing_starts_anew_by_itself(tmp_path):
    run(tmp_path, epochs=2)
    for path in tmp_path.glob("*.keras"):
        damage(path)
    with pytest.raises(ValueError, match="no checkpoint that is whole"):
        run(tmp_path)
    assert names_in(tmp_path) == ["epoch_0001.keras", "epoch_0002.keras"]


@once
@pytest.mark.parametrize("which", ["weight", "moment"])
def test_a_run_that_is_not_finite_never_replaces_one_that_is(tmp_path, which):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch >= 1:
                values = {
                    "weight": self.model.weights[0],
                    "moment": self.model.optimizer.variables[2],
                }
                values[which].assign(keras.ops.full(values[which].shape, np.nan))

    with pytest.warns(UserWarning, match="epoch_0002.keras is not written"):
        run(tmp_path, kill=Spoil(), monitor="val_loss")
    assert names_in(tmp_path) == ["best.keras", "epoch_0001.keras"]
    for path in tmp_path.glob("*.keras"):
        model = keras.models.load_model(path)
        for variable in [*model.weights, *model.optimizer.variables]:
            assert np.isfinite(keras.ops.convert_to_numpy(variable)).all()


@once
def test_latest_looks_at_whole_checkpoints_only(tmp_path):
    assert RunCheckpoint.latest(tmp_path / "missing") is None
    assert RunCheckpoint.latest(tmp_path) is None
    for name in ("epoch_0009.keras", "epoch_10000.keras", "epoch_0011.keras.tmp",
                 "unfinished.keras", "best.keras", "epoch_final.keras"):  # fmt: skip
        (tmp_path / name).touch()
    assert RunCheckpoint.latest(tmp_path) == (
        str(tmp_path / "epoch_10000.keras"), 10000, 0
    )  # fmt: skip
    (tmp_path / "epoch_10000_step_000020.keras").touch()
    assert RunCheckpoint.latest(tmp_path)[1:] == (10000, 20)


@once
def test_a_run_that_came_further_is_not_overwritten(tmp_path):
    for kill, place in ((Kill(3), (0, 2)), (None, (2, 0))):
        with contextlib.suppress(RuntimeError):
            run(tmp_path, epochs=2, kill=kill, every_steps=2)
        assert RunCheckpoint.latest(tmp_path)[1:] == place
        before = names_in(tmp_path)
        with pytest.raises(ValueError, match="has come further"):
            make_model().fit(
                make_dataset(), verbose=0, callbacks=[RunCheckpoint(tmp_path)]
            )
        assert names_in(tmp_path) == before


@once
def test_bad_arguments_are_refused(tmp_path):
    for arguments, name in (
        ({"folder": ""}, "folder"),
        ({"keep": 0}, "keep"),
        ({"every_steps": 0}, "every_steps"),
        ({"every_seconds": -1}, "every_seconds"),
        ({"every_seconds": float("nan")}, "every_seconds"),
        ({"mode": "best"}, "mode"),
        ({"sharded": True, "monitor": "val_loss"}, "monitor"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            RunCheckpoint(**{"folder": tmp_path, **arguments})
    with pytest.raises(ValueError, match="`dataset`"):
        RunCheckpoint(tmp_path).resume(np.zeros(3), make_model)
    run(tmp_path, epochs=1)
    checkpoint = RunCheckpoint(tmp_path, callbacks=[keras.callbacks.EarlyStopping()])
    dataset = make_dataset()
    model, _ = checkpoint.resume(dataset, make_model)
    with pytest.raises(ValueError, match="`initial_epoch` .* has returned, 1"):
        model.fit(dataset, epochs=2, verbose=0, callbacks=[checkpoint])
    dataset, other = make_dataset(), keras.callbacks.ReduceLROnPlateau()
    checkpoint = RunCheckpoint(tmp_path, callbacks=[other])
    model, epoch = checkpoint.resume(dataset, make_model)
    with pytest.raises(ValueError, match="`callbacks`.*EarlyStopping"):
        model.fit(
            dataset,
            initial_epoch=epoch,
            epochs=2,
            verbose=0,
            callbacks=[other, checkpoint],
        )


@once
def test_a_history_is_mended(tmp_path, whole):
    history = tmp_path / "history.csv"
    history.touch()  # as a kill in the first epoch leaves it
    run(tmp_path, epochs=2)
    for content in ("", "epo", history.read_text() + "2"):
        history.write_text(content)
        dataset = make_dataset()
        RunCheckpoint(tmp_path).resume(dataset, make_model, history)
        lines = (whole[0] / "history.csv").read_bytes().splitlines(keepends=True)
        assert history.read_bytes() == b"".join(lines[:3])


def test_a_checkpoint_is_a_plain_keras_file(tmp_path):
    model, _, _ = run(tmp_path, epochs=1)
    path, _, _ = RunCheckpoint.latest(tmp_path)
    assert {"run.json", "config.json"} <= set(zipfile.ZipFile(path).namelist())
    loaded = keras.models.load_model(path)
    assert int(loaded.optimizer.iterations) == STEPS
    for one, two in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


SCRIPT = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's workers ignore it
import keras
sys.path.insert(0, {tests!r})
from test_run_checkpoint import run

class Tell(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.params["epochs"] == 400 and batch == 2:
            print("in a step", flush=True)
            time.sleep(0.3)

run(pathlib.Path({folder!r}), epochs=400, kill=Tell())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(tmp_path, number):
    if number == signal.SIGINT and keras.backend.backend() != "torch":
        pytest.skip("once is enough")
    script = SCRIPT.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "in a step\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (128 + number, -number)
    path, epoch, step = RunCheckpoint.latest(tmp_path)
    assert f"the run is saved as {path}" in errors
    assert step == 3
    keras.models.load_model(path)


@once
def test_a_signal_after_a_failed_fit_acts_at_once(tmp_path, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "run", kill=Kill(1))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
