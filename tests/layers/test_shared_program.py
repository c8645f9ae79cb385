"""What one model's measurement has compiled serves the next, and holds no model."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation import RetrievalBank, evaluate_world_model
from keras_iwm.evaluation.bank_ranking import BankRanking
from keras_iwm.layers import shared_program
from keras_iwm.models import ImageWorldModel

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="nothing is compiled"
)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("uint8")


def make_model(encoder=ViTEncoder, width=16, **arguments):
    return ImageWorldModel.from_encoder(
        encoder(16, 4, width, 1, 2), predictor_layers=1, **arguments
    )


def measured(model):
    return evaluate_world_model(model, IMAGES, RetrievalBank(6), verbose=False)


@pytest.fixture
def traces(monkeypatch):
    """How often a ranking was traced, with no program from other tests."""
    monkeypatch.setattr(shared_program, "PROGRAMS", shared_program.PROGRAMS.__class__())
    calls, call = [], BankRanking.call
    monkeypatch.setattr(
        BankRanking, "call", lambda self, inputs: calls.append(1) or call(self, inputs)
    )
    return calls


def test_models_of_one_structure_share_a_program_and_not_their_weights(traces):
    first, second = make_model(seed=0), make_model(seed=1, ema_momentum=0.9)
    results = measured(first)
    count = len(traces)
    others = measured(second)
    assert len(traces) == count > 0
    assert others["bank_spread_ratio"] != results["bank_spread_ratio"]
    shared_program.PROGRAMS.clear()
    assert measured(second) == pytest.approx(others, rel=1e-6)
    assert len(traces) == 2 * count
    first.target_encoder.set_weights(second.target_encoder.get_weights())
    first.predictor.set_weights(second.predictor.get_weights())
    assert measured(first) == others
    assert len(traces) == 2 * count


def test_what_computes_otherwise_is_compiled_anew(traces):
    class Mirrored(ViTEncoder):
        def call(self, images, **arguments):
            return super().call(ops.flip(images, axis=2), **arguments)

    measured(make_model())
    for make in (
        lambda: make_model(width=24),
        lambda: make_model(actions=[ColorJitter(strength=2.0)]),
        lambda: make_model(value_range=(-1, 256)),
        lambda: make_model(Mirrored),
        lambda: make_model(Mirrored),
    ):
        before, model = len(traces), make()
        measured(model)
        assert len(traces) > before
    before = len(traces)
    model = make_model()
    model.predictor.blocks[0].mlp_hidden.enable_lora(2)
    measured(model)
    assert len(traces) > before


def test_no_program_holds_a_model(traces):
    model = make_model()
    measured(model)
    reference = weakref.ref(model), weakref.ref(model.encoder.blocks[0].norm)
    del model
    gc.collect()
    assert [part() for part in reference] == [None, None]
    assert shared_program.PROGRAMS


def test_only_the_last_programs_are_kept(traces, monkeypatch):
    monkeypatch.setattr(shared_program, "MOST_PROGRAMS", 1)
    model, other = make_model(), make_model(width=24)
    for part in (model, other, model):
        measured(part)
        assert len(shared_program.PROGRAMS) == 1
