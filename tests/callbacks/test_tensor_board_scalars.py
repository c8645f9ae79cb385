import pathlib
import struct
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("tensorboardX")
from tensorboardX.proto import event_pb2  # noqa: E402

from keras_iwm.callbacks import TensorBoardScalars  # noqa: E402


def read_scalars(folder):
    """Returns {tag: [(step, value)]} of all event files in a folder, by hand."""
    scalars = {}
    for path in sorted(pathlib.Path(folder).glob("events.out.tfevents.*")):
        content, start = path.read_bytes(), 0
        while start < len(content):
            # A record: its length in 8 bytes, a checksum of 4, the event, again 4.
            (length,) = struct.unpack("<Q", content[start : start + 8])
            event = event_pb2.Event()
            event.ParseFromString(content[start + 12 : start + 12 + length])
            start += 16 + length
            for value in event.summary.value:
                entry = (event.step, value.simple_value)
                scalars.setdefault(value.tag, []).append(entry)
    return scalars


def make_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model


class ExtraLogs(keras.callbacks.Callback):
    """Adds entries to the logs, as a quality callback does."""

    def on_epoch_end(self, epoch, logs=None):
        logs["mrr"] = np.float32(0.25 * (epoch + 1))
        logs["array"] = np.zeros(3)
        logs["remark"] = None
        logs["tensor"] = keras.ops.convert_to_tensor(1.5)


def test_logged_numbers_are_read_back(tmp_path):
    model, data = make_model(), (np.ones((4, 3)), np.zeros((4, 1)))
    callbacks = [ExtraLogs(), TensorBoardScalars(tmp_path)]
    history = model.fit(*data, epochs=2, verbose=0, callbacks=callbacks)
    # A resumed run continues the curves.
    more = model.fit(*data, initial_epoch=2, epochs=3, verbose=0, callbacks=callbacks)
    scalars = read_scalars(tmp_path)
    assert sorted(scalars) == ["loss", "mrr", "tensor"]
    scalars = {tag: sorted(entries) for tag, entries in scalars.items()}
    assert scalars["mrr"] == [(0, 0.25), (1, 0.5), (2, 0.75)]
    assert [value for _, value in scalars["tensor"]] == [1.5] * 3
    losses = history.history["loss"] + more.history["loss"]
    np.testing.assert_allclose([v for _, v in scalars["loss"]], losses, rtol=1e-6)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TensorBoardScalars(tmp_path)
