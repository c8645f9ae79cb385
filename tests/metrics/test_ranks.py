import keras
import numpy as np
import pytest

from keras_iwm.metrics import (
    HitRate,
    MeanReciprocalRank,
    ranks_from_distances,
    reciprocal_rank_chance,
    retrieval_distances,
    retrieval_ranks,
)


def loop_ranks(predictions, bank, wanted):
    """Ranks by a plain loop in float64."""
    ranks = []
    for query, index in zip(predictions, wanted, strict=True):
        distances = np.array(
            [np.sqrt(np.sum((query - entry) ** 2)) for entry in bank.astype("float64")]
        )
        limit = 1e-6 * distances[index]
        others = np.delete(distances, index)
        closer = np.sum(others < distances[index] - limit)
        tied = np.sum(np.abs(others - distances[index]) <= limit)
        ranks.append(1 + closer + tied / 2)
    return np.array(ranks)


def numbers(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize(("num_queries", "num_entries"), [(7, 9), (12, 12), (1, 5)])
def test_ranks_equal_a_loop(num_queries, num_entries):
    generator = np.random.default_rng(0)
    bank = generator.normal(size=(num_entries, 3, 4)).astype("float32")
    predictions = generator.normal(size=(num_queries, 3, 4)).astype("float32")
    wanted = generator.integers(0, num_entries, num_queries)
    ranks = numbers(retrieval_ranks(predictions, bank, wanted))
    assert ranks.shape == (num_queries,)
    assert np.array_equal(ranks, loop_ranks(predictions, bank, wanted))


def test_wanted_defaults_to_the_entry_of_the_same_index():
    generator = np.random.default_rng(1)
    bank = generator.normal(size=(9, 6)).astype("float32")
    predictions = generator.normal(size=(5, 6)).astype("float32")
    ranks = numbers(retrieval_ranks(predictions, bank))
    assert np.array_equal(ranks, loop_ranks(predictions, bank, np.arange(5)))


def test_ties_take_the_middle_rank():
    bank = np.array([[0.0], [2.0], [-2.0], [2.0], [5.0]], "float32")
    ranks = numbers(retrieval_ranks(np.zeros((5, 1), "float32"), bank, range(5)))
    assert np.array_equal(ranks, [1, 3, 3, 3, 5])


def test_distances_within_a_millionth_are_ties():
    ranks = numbers(ranks_from_distances([[1.0, 1.0 + 5e-7, 1.0 - 5e-7, 1.0 + 4e-6]]))
    assert np.array_equal(ranks, [2.0])


def test_nan_prediction_takes_the_middle_rank():
    predictions = np.full((4, 3), np.nan, "float32")
    assert np.array_equal(
        numbers(retrieval_ranks(predictions, np.eye(4, 3))), [2.5] * 4
    )


def test_small_distances_on_a_large_offset_are_told_apart():
    # The expanded form a² - 2ab + b² has no correct digit left here.
    steps = np.arange(8, dtype="float32").reshape(8, 1) / 64
    bank = 4096 + np.repeat(steps, 16, axis=1)
    distances = numbers(retrieval_distances(bank[:1], bank))
    assert np.allclose(distances[0], steps[:, 0] * 4, rtol=1e-6)


def test_different_numbers_of_values_are_refused():
    with pytest.raises(ValueError, match="agree in all axes"):
        retrieval_ranks(np.zeros((2, 3)), np.zeros((4, 5)))


@pytest.mark.parametrize(
    ("num_entries", "chance"), [(256, 0.0239), (64, 0.0741), (33, 0.1239), (1, 1.0)]
)
def test_chance_is_the_harmonic_number_over_n(num_entries, chance):
    assert reciprocal_rank_chance(num_entries) == pytest.approx(chance, abs=5e-5)


def test_chance_of_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match="num_entries"):
        reciprocal_rank_chance(0)


def test_perfect_predictor_has_mrr_one():
    bank = np.random.default_rng(2).normal(size=(256, 8)).astype("float32")
    metric = MeanReciprocalRank()
    metric.update_state(bank, bank)
    assert float(metric.result()) == 1.0


def test_random_predictor_has_mrr_at_chance():
    generator = np.random.default_rng(3)
    metric = MeanReciprocalRank()
    for _ in range(60):
        bank = generator.normal(size=(64, 8)).astype("float32")
        metric.update_state(bank, generator.normal(size=(64, 8)).astype("float32"))
    # The standard deviation of 1 / rank is 0.149 over 64 entries.
    error = 4 * 0.149 / np.sqrt(60 * 64)
    assert float(metric.result()) == pytest.approx(
        reciprocal_rank_chance(64), abs=error
    )


def test_action_blind_predictor_is_exactly_at_chance():
    generator = np.random.default_rng(4)
    bank = generator.normal(size=(256, 8)).astype("float32")
    prediction = np.repeat(generator.normal(size=(1, 8)), 256, axis=0)
    metric = MeanReciprocalRank()
    metric.update_state(bank, prediction)
    assert float(metric.result()) == pytest.approx(
        reciprocal_rank_chance(256), rel=1e-6
    )


def test_collapsed_model_is_below_chance():
    metric = MeanReciprocalRank()
    metric.update_state(np.ones((256, 8)), np.ones((256, 8)))
    assert float(metric.result()) == pytest.approx(2 / 257, rel=1e-6)


def test_jitter_probability_below_one_caps_a_perfect_model():
    # A fifth of the bank left as it is: identical entries, which tie.
    generator = np.random.default_rng(5)
    metric = MeanReciprocalRank()
    for _ in range(20):
        skipped = generator.random((256, 1)) >= 0.8
        bank = np.where(skipped, 0.0, generator.normal(size=(256, 8)))
        metric.update_state(bank, bank)
    assert float(metric.result()) == pytest.approx(0.808, abs=0.01)


@pytest.mark.parametrize(("k", "share"), [(1, 0.25), (2, 0.5), (4, 1.0)])
def test_hit_rate_counts_ranks_up_to_k(k, share):
    bank = np.array([[1.0], [2.0], [3.0], [4.0]], "float32")
    metric = HitRate(k=k)
    metric.update_state(bank, np.zeros((4, 1)))
    assert metric.name == f"hit_at_{k}"
    assert float(metric.result()) == share


def test_collapsed_model_has_no_hits():
    metric = HitRate(k=10)
    metric.update_state(np.ones((256, 8)), np.ones((256, 8)))
    assert float(metric.result()) == 0.0


def test_hit_rate_refuses_rank_zero():
    with pytest.raises(ValueError, match="`k`"):
        HitRate(k=0)


@pytest.mark.parametrize(
    "metric", [MeanReciprocalRank(name="mrr", dtype="float32"), HitRate(3, "hits")]
)
def test_metrics_are_rebuilt_from_their_config(metric):
    rebuilt = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(rebuilt) is type(metric)
    assert rebuilt.get_config() == metric.get_config()


def test_sample_weight_weighs_queries():
    bank = np.array([[1.0], [2.0]], "float32")
    metric = MeanReciprocalRank()
    metric.update_state(bank, np.zeros((2, 1)), sample_weight=np.array([3.0, 1.0]))
    assert float(metric.result()) == pytest.approx((3 * 1 + 1 * 0.5) / 4)
