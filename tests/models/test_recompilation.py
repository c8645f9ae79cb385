"""Nothing is compiled again once it has run: not in `fit`, not in an evaluation."""

import contextlib
import functools
import logging

import keras
import numpy as np
import pytest

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import ImageArray
from keras_iwm.evaluation import RetrievalBank, WorldModelEvaluator
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="Torch runs each step eagerly: there is nothing to compile",
)


class Compilations(logging.Handler):
    """Counts how often an encoder is traced, and what JAX compiles besides."""

    def __init__(self):
        super().__init__()
        self.traces = 0
        self.compiled = []

    def emit(self, record):
        message = record.getMessage()
        if message.startswith("Compiling"):
            self.compiled.append(message[:200])

    def counts(self):
        return self.traces, len(self.compiled)


@pytest.fixture
def compilations(monkeypatch):
    """A counter of traces and compilations for one test."""
    counter, call = Compilations(), ViTEncoder.call

    @functools.wraps(call)
    def counted(*args, **kwargs):
        counter.traces += 1
        return call(*args, **kwargs)

    monkeypatch.setattr(ViTEncoder, "call", counted)
    logged = contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        import jax

        logged = jax.log_compiles()
    logger = logging.getLogger("jax")
    logger.addHandler(counter)
    with logged:
        yield counter
    logger.removeHandler(counter)


class Counts(keras.callbacks.Callback):
    """Notes the counts after every step and every epoch."""

    def __init__(self, compilations):
        super().__init__()
        self.compilations = compilations
        self.steps, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.compilations.counts())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.compilations.counts())


def test_steps_validations_and_evaluations_compile_once(compilations):
    views = ViewGenerator(32, MultiBlockMask(8), actions=(ColorJitter(),), seed=0)
    model = ImageWorldModel(
        ViTEncoder(32, 4, 16, 1, 2),
        WorldModelPredictor((8, 8), 16, 16, 1, 2, None, 4),
        views,
    )
    model.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype("uint8")
    counts = Counts(compilations)
    model.fit(
        ImageArray(images, batch_size=4),
        validation_data=ImageArray(images[:8], batch_size=4, shuffle=False),
        epochs=2,
        callbacks=[counts],
        verbose=0,
    )
    # Student and teacher, in the step and in the validation, each at least once.
    assert counts.epochs[0][0] >= 4
    if keras.backend.backend() == "jax":
        assert any("train_step" in message for message in compilations.compiled)
    else:
        # Student and teacher once: nothing has the first step traced again.
        assert counts.steps[0][0] == 2
    assert counts.steps[0] == counts.steps[3]
    assert counts.epochs[0] == counts.steps[4] == counts.epochs[1]

    evaluator = WorldModelEvaluator(model, images[:3], RetrievalBank(8), batch_size=8)
    first = evaluator.evaluate(verbose=False)
    before = compilations.counts()
    assert before[0] > counts.epochs[1][0]
    assert evaluator.evaluate(verbose=False) == first
    assert compilations.counts() == before
    model.fit(ImageArray(images, batch_size=4), verbose=0, callbacks=[counts])
    assert compilations.counts() == before
