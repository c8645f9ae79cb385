import keras
import numpy as np
import pytest

from keras_iwm.metrics import feature_spread, rank_me


def test_isotropic_features_have_full_rank():
    orthogonal, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(24, 8)))
    assert rank_me(3e-4 * orthogonal) == pytest.approx(8.0, rel=1e-9)


def test_rank_one_features_have_rank_one():
    features = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 6.0))
    assert rank_me(features) == pytest.approx(1.0, abs=1e-9)


def test_constant_and_zero_features_have_rank_one():
    assert rank_me(np.full((6, 4), 2.0)) == pytest.approx(1.0, abs=1e-9)
    assert rank_me(np.zeros((6, 4))) == 1.0


def test_known_singular_values_give_the_entropy_of_their_shares():
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    entropy = -np.sum(shares * np.log(shares))
    assert rank_me(np.diag(7 * shares)) == pytest.approx(np.exp(entropy), rel=1e-12)


def test_rank_is_blind_to_scale_in_float32():
    features = np.random.default_rng(1).normal(size=(32, 8)).astype("float32")
    assert rank_me(features * 1e-6) == pytest.approx(rank_me(features), rel=1e-5)


def test_features_that_are_not_finite_have_rank_nan():
    assert np.isnan(rank_me([[1.0, np.nan]]))


def test_spread_is_the_mean_standard_deviation():
    features = np.random.default_rng(2).normal(size=(10, 5)).astype("float32")
    expected = np.mean([features[:, i].astype("float64").std() for i in range(5)])
    tensor = keras.ops.convert_to_tensor(features)
    assert feature_spread(tensor) == pytest.approx(expected, rel=1e-12)


def test_collapsed_features_have_no_spread():
    assert feature_spread(np.full((6, 4), 2.0)) == 0.0


@pytest.mark.parametrize("measure", [rank_me, feature_spread])
def test_patch_latents_are_refused(measure):
    with pytest.raises(ValueError, match="num_images, hidden_dim"):
        measure(np.zeros((2, 3, 4)))
