import numpy as np
import pytest
from scipy.spatial.distance import pdist

from keras_iwm.metrics import uniformity


def test_one_direction_is_zero_whatever_the_lengths():
    assert uniformity(np.full((6, 4), 2.0)) == pytest.approx(0.0, abs=1e-12)
    line = np.outer(np.arange(1.0, 8.0), [1.0, -0.3, 0.2])
    assert uniformity(line) == pytest.approx(0.0, abs=1e-12)
    assert uniformity(np.zeros((3, 4))) == 0.0


def test_orthogonal_and_opposite_features():
    assert uniformity(5 * np.eye(8)) == pytest.approx(-4.0, rel=1e-12)
    assert uniformity([[1.0, 1.0], [-3.0, -3.0]], t=0.5) == pytest.approx(-2.0)


def test_many_isotropic_features_reach_minus_two_t():
    features = np.random.default_rng(0).normal(size=(300, 4096))
    assert uniformity(features) == pytest.approx(-4.0, abs=0.01)


@pytest.mark.parametrize("num_images", [7, 8, 30])
def test_equals_all_pairs_of_scipy_over_several_tiles(monkeypatch, num_images):
    # The module has the function's name, so it is reached through its globals.
    monkeypatch.setitem(uniformity.__globals__, "_ROWS", 8)
    features = np.random.default_rng(1).normal(size=(num_images, 5)) + 0.5
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = np.log(np.mean(np.exp(-3 * pdist(unit, "sqeuclidean"))))
    assert uniformity(features, t=3) == pytest.approx(expected, rel=1e-12)


def test_features_that_are_not_finite_are_nan():
    assert np.isnan(uniformity([[1.0, np.nan], [1.0, 2.0]]))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 2 images"):
        uniformity(np.ones((1, 4)))
    with pytest.raises(ValueError, match="`t`"):
        uniformity(np.ones((2, 4)), t=0)
    with pytest.raises(ValueError, match="num_images, hidden_dim"):
        uniformity(np.ones((2, 3, 4)))
