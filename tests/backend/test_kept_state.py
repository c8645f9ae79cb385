"""After a call that failed, a model is what it was before, and goes on."""

import _thread
import concurrent.futures
import contextlib
import threading
import time

import keras
import numpy as np
import pytest
from harness import images, make, values

from keras_iwm.backend import seed_states as seeds
from keras_iwm.models.trained_model import TrainedModel
from keras_iwm.optimizers import AdamW

PICTURES = np.concatenate([images(), 255 - images()])
on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="elsewhere variables are the state"
)


class Fault(keras.callbacks.Callback):
    """Raise at the end of the second batch, or soon after it."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch >= 1:
            raise self.error

    def on_predict_batch_end(self, batch, logs=None):
        self.on_train_batch_end(batch)


class Interrupt(keras.callbacks.Callback):
    """Send Ctrl-C a while after training has begun; end it if that is not heard."""

    def __init__(self, wait):
        super().__init__()
        self.timer = threading.Timer(wait, _thread.interrupt_main)
        self.end = time.monotonic() + wait + 1

    def on_train_begin(self, logs=None):
        self.timer.start()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = time.monotonic() > self.end


class Small(TrainedModel):
    """What is quick to compile: a layer with weights, and one with a seed."""

    def __init__(self):
        super().__init__()
        self.value_range, self.num_channels = (0, 255), 3
        self.dense = keras.layers.Dense(3, kernel_initializer="ones")
        self.dense.build((None, 768))
        self.dropout = keras.layers.Dropout(0.5, seed=0)
        self.built = True

    def call(self, pictures, training=None):
        """Make logits of pictures, which nothing is to be learned from."""
        pixels = keras.ops.reshape(pictures, (-1, 768)) / 255
        return self.dropout(self.dense(pixels), training=training)

    def compute_loss(self, x, y, y_pred, *arguments, **named):
        """Return a loss without labels."""
        return keras.ops.mean(keras.ops.square(y_pred))


def compiled(model, **arguments):
    model.compile(AdamW(1e-3), **arguments)
    return model


def fit(model, pictures=PICTURES, **arguments):
    model.fit(pictures, batch_size=2, shuffle=False, verbose=0, **arguments)


def assert_equal(model, other):
    """That weights, teacher, seeds and the optimizer's state are the same."""
    states = ([*m.variables, *m.optimizer.variables] for m in (model, other))
    for value, expected in zip(*map(values, states), strict=True):
        np.testing.assert_array_equal(value, expected)


def plant(monkeypatch, model, method):
    """Let a part of the step raise."""

    def refuse(*arguments, **named):
        raise ValueError("planted in the step")

    monkeypatch.setattr(model, method, refuse)


def test_training_goes_on_where_it_broke_off(monkeypatch):
    model, other = compiled(Small()), compiled(Small())
    with monkeypatch.context() as patch:
        plant(patch, model, "compute_loss")
        with pytest.raises(ValueError, match="planted in the step"):
            fit(model)
    for value, expected in zip(
        values(model.weights), values(other.weights), strict=True
    ):
        np.testing.assert_array_equal(value, expected)
    # Torch has dropped features in that step; elsewhere nothing has run.
    for seed, expected in zip(seeds(model), seeds(other), strict=True):
        seed.assign(keras.ops.convert_to_numpy(expected))
    for error, start in ((KeyboardInterrupt(), 0), (ValueError("planted"), 4)):
        with pytest.raises(type(error)):
            fit(model, PICTURES[start:], callbacks=[Fault(error)])
        fit(other, PICTURES[start : start + 4])
        assert_equal(model, other)
    for each in (model, other):
        each.compile(AdamW(1e-3))
        fit(each, PICTURES[:2])
    assert_equal(model, other)


@on_jax
@pytest.mark.parametrize("steps", [1, 3])
def test_data_that_fail_lose_no_step(steps):
    model, other = (compiled(Small(), steps_per_execution=steps) for _ in range(2))

    def batches():
        yield (PICTURES[:2],)
        yield (PICTURES[2:4],)
        raise OSError("planted in the data")

    with pytest.raises(OSError, match="planted in the data"):
        model.fit(batches(), steps_per_epoch=4, verbose=0)
    fit(other, PICTURES[:4])
    assert_equal(model, other)
    with pytest.raises(OSError, match="planted in the data"):
        model.evaluate(batches(), steps=4, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.predict(
            PICTURES, batch_size=2, verbose=0, callbacks=[Fault(KeyboardInterrupt())]
        )
    fit(model, PICTURES[4:6])
    fit(other, PICTURES[4:6])
    assert_equal(model, other)


@on_jax
def test_interrupts_at_any_moment_leave_whole_steps():
    model = compiled(Small())
    fit(model)
    updates = []
    for wait in np.random.default_rng(0).uniform(0.02, 0.15, 10):
        # Python drops what is raised while it clears up: then training ends by itself.
        with contextlib.suppress(KeyboardInterrupt):
            fit(model, epochs=10**6, callbacks=[Interrupt(wait)])
        assert all(np.isfinite(value).all() for value in values(model.variables))
        updates.append(int(model.optimizer.iterations))
    assert updates == sorted(updates)


@on_jax
def test_weights_that_a_step_has_used_up_are_said_to_be_lost():
    model = compiled(Small())
    fit(model)

    def fail(state, iterator):
        for array in state[0]:
            array.delete()
        raise MemoryError("planted")

    model.train_function = fail
    with pytest.raises(RuntimeError, match="they are lost. Load the last checkpoint"):
        fit(model)


def test_threads_predict_what_one_thread_predicts():
    encoder = make("encoder")
    expected = encoder.predict(PICTURES, batch_size=4, verbose=0)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        calls = [
            threads.submit(encoder.predict, PICTURES, batch_size=4, verbose=0)
            for _ in range(8)
        ]
        for call in calls:
            np.testing.assert_array_equal(call.result(), expected)
