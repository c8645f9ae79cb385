import sys

import keras
import pytest

from keras_iwm.callbacks import RemainingTime

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no model takes part"
)


def test_lines_come_now_and_then_and_tell_what_is_left(capsys, monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(sys.modules[RemainingTime.__module__], "time", clock)
    callback = RemainingTime(every_seconds=5)
    callback.set_params({"epochs": 3, "steps": 20})
    callback.on_train_begin()
    callback.on_epoch_begin(1)
    for batch in range(20):
        clock.now += 90.0 if batch == 0 else 2.0  # The first one compiles.
        callback.on_train_batch_end(batch)
    lines = capsys.readouterr().out.splitlines()
    # At once behind the second step, then every three of them.
    assert lines[0] == (
        "epoch 2/3, step 2/20: 2e+03 ms a step, epoch ends in 0:00:36, run in 0:01:16"
    )
    assert [line.split(":")[0].split()[-1] for line in lines] == [
        *("2/20", "5/20", "8/20", "11/20", "14/20", "17/20", "20/20")
    ]


def test_what_is_measured_is_told_apart_from_steps(capsys, monkeypatch):
    times = iter([0.0, 10.0, 12.0, 13.0, 100.0])
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: next(times))})
    monkeypatch.setattr(sys.modules[RemainingTime.__module__], "time", clock)
    callback = RemainingTime(every_seconds=1000)
    callback.set_params({"epochs": 3, "steps": 2})
    callback.on_train_begin()
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0)
    callback.on_train_batch_end(1)
    callback.on_epoch_end(1)
    assert capsys.readouterr().out == (
        "epoch 2/3: 3 s of steps, 87 s of measurements behind them\n"
    )


def test_without_a_known_length_only_the_speed_is_told(capsys):
    callback = RemainingTime(every_seconds=1e-9)
    callback.set_params({"epochs": 3, "steps": None})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch in range(2):
        callback.on_train_batch_end(batch)
    assert capsys.readouterr().out.startswith("epoch 1/3, step 2: ")
