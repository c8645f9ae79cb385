"""Distances by a product rank like those by differences, also where entries tie."""

import numpy as np
import pytest
from keras import ops

from keras_iwm.metrics import ranking_distances as module
from keras_iwm.metrics import ranks_from_distances, retrieval_distances
from keras_iwm.metrics.ranking_distances import prepare_bank, ranking_distances

SIZE, SHAPE = 40, (9, 24)


def rank(predictions, bank, wanted):
    """Distances to a bank that is used once."""
    return ranking_distances(predictions, prepare_bank(bank), wanted)


def banks():
    """Banks with predictions for them, by what is hard about them."""
    rng = np.random.default_rng(0)
    entries = rng.normal(size=(SIZE, *SHAPE)).astype("float32")
    close = entries[:1] + 1e-3 * entries
    twins = entries.copy()
    twins[1::2] = twins[::2]
    nearly = twins.copy()
    nearly[1::2] *= 1 + 3e-7
    noise = rng.normal(size=entries.shape).astype("float32")
    return {
        "apart": (entries + 0.5 * noise, entries),
        "close to each other, far from the predictions": (noise, close),
        "all of one place": (noise, np.repeat(entries[:1], SIZE, axis=0)),
        "twins": (twins + 0.1 * noise, twins),
        "nearly twins": (nearly + 0.1 * noise, nearly),
        "predicted exactly": (entries, entries),
        "twins predicted exactly": (twins, twins),
        "of one prediction": (np.repeat(noise[:1], SIZE, axis=0), entries),
        "far from zero": (1000 + entries + noise, 1000 + entries),
        "not finite": (np.where(np.arange(SIZE)[:, None, None] == 3, np.nan, noise),
                       entries),
    }  # fmt: skip


@pytest.mark.parametrize("name", banks())
def test_ranks_and_nearest_are_those_of_all_differences(name):
    predictions, bank = (part.astype("float32") for part in banks()[name])
    wanted = np.stack([np.arange(SIZE), np.roll(np.arange(SIZE), 7)], 1).astype("int32")
    tensors = map(ops.convert_to_tensor, (predictions, bank, wanted))
    found = rank(*tensors)
    expected = retrieval_distances(predictions, bank)
    for column in wanted.T:
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ranks_from_distances(found, column)),
            ops.convert_to_numpy(ranks_from_distances(expected, column)),
        )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.argmin(found, axis=1)),
        ops.convert_to_numpy(ops.argmin(expected, axis=1)),
    )


def test_few_predictions_are_measured_again(monkeypatch):
    counts, measure = [], module._measure_again

    def counted(distances, is_unclear, *rest):
        counts.append(ops.convert_to_numpy(is_unclear).sum())
        return measure(distances, is_unclear, *rest)

    monkeypatch.setattr(module, "_measure_again", counted)
    wanted = ops.convert_to_tensor(np.arange(SIZE, dtype="int32")[:, None])
    for name in ("apart", "twins"):
        predictions, bank = map(ops.convert_to_tensor, banks()[name])
        distances = rank(predictions, bank, wanted)
        np.testing.assert_allclose(
            ops.convert_to_numpy(distances),
            ops.convert_to_numpy(retrieval_distances(predictions, bank)),
            rtol=1e-5,
        )
    assert counts[0] <= 1
    assert counts[1] == SIZE
