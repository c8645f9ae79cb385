"""What one model's measurement has compiled serves the next, and holds no model."""

import gc
import weakref

import keras
import numpy as np
import pytest

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation import RetrievalBank, evaluate_world_model
from keras_iwm.evaluation.bank_ranking import BankRanking
from keras_iwm.layers import shared_program
from keras_iwm.layers.shared_program import SharedProgram, structure_of
from keras_iwm.models import ImageWorldModel

pytestmark = pytest.mark.filterwarnings("ignore:A grid of")
compiles = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="nothing is compiled"
)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("uint8")


def make_model(encoder=ViTEncoder, value_range=(0, 255), **arguments):
    return ImageWorldModel.from_encoder(
        encoder(16, 4, 8, 1, 2, value_range=value_range, dtype=arguments.get("dtype")),
        predictor_layers=1,
        **arguments,
    )


def measured(model):
    return evaluate_world_model(model, IMAGES, RetrievalBank(3), verbose=False)


@compiles
def test_models_of_one_structure_share_a_program_and_not_their_weights(monkeypatch):
    monkeypatch.setattr(shared_program, "PROGRAMS", type(shared_program.PROGRAMS)())
    traces, call = [], BankRanking.call
    monkeypatch.setattr(
        BankRanking, "call", lambda self, inputs: traces.append(1) or call(self, inputs)
    )
    first, second = make_model(seed=0), make_model(seed=1, ema_momentum=0.9)
    results = measured(first)
    count = len(traces)
    others = measured(second)
    assert len(traces) == count > 0
    assert others["bank_spread_ratio"] != results["bank_spread_ratio"]
    first.target_encoder.set_weights(second.target_encoder.get_weights())
    first.predictor.set_weights(second.predictor.get_weights())
    assert measured(first) == others
    assert len(traces) == count

    # The program holds no model.
    held = weakref.ref(first), weakref.ref(second.predictor.blocks[0])
    del first, second
    gc.collect()
    assert [part() for part in held] == [None, None]
    assert len(shared_program.PROGRAMS) == 1


def test_only_the_last_programs_are_kept(monkeypatch):
    monkeypatch.setattr(shared_program, "PROGRAMS", type(shared_program.PROGRAMS)())
    monkeypatch.setattr(shared_program, "MOST_PROGRAMS", 2)
    monkeypatch.setattr(shared_program, "compile_apart", lambda *arguments: object())
    program = SharedProgram(None)

    def found(*sizes):
        return [program._program_for((np.zeros(size),)) for size in sizes]

    one, two = found(1, 2)
    assert found(2, 1) == [two, one]
    assert found(3, 1)[1] is one
    assert found(2) != [two]


class Mirrored(ViTEncoder):
    """A class of a user's own."""


def test_what_computes_otherwise_has_another_structure():
    model = make_model(seed=0)
    alike = structure_of(make_model(seed=1, ema_momentum=0.9))
    assert structure_of(model) == alike
    others = [
        make_model(actions=[ColorJitter(strength=2.0)]),
        make_model(value_range=(-1, 256)),
        make_model(predictor_dim=24),
    ]
    model.predictor.blocks[0].mlp_hidden.enable_lora(2)
    structures = [alike, *map(structure_of, (model, *others))]
    assert len(set(structures)) == len(structures)
    own = make_model(Mirrored)
    assert structure_of(own) != structure_of(own)
