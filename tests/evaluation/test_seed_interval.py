import numpy as np
import pytest
from scipy import stats

from keras_iwm.evaluation.seed_interval import seed_interval


@pytest.mark.parametrize("count", [2, 3, 7, 31])
def test_interval_is_that_of_student(count):
    values = np.random.default_rng(0).normal(3.0, 2.0, count)
    found = seed_interval(values)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert found["n"] == count
    np.testing.assert_allclose(found["mean"], values.mean())
    np.testing.assert_allclose((found["low"], found["high"]), expected, rtol=2e-4)


def test_one_run_says_nothing_of_others_and_many_are_nearly_normal():
    assert seed_interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "n": 1}
    values = np.random.default_rng(1).normal(size=200)
    low, high = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    found = seed_interval(values)
    assert 1.0 < (found["high"] - found["low"]) / (high - low) < 1.04
