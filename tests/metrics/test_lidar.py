import keras
import numpy as np
import pytest

from keras_iwm.metrics import lidar


def views(between, within, num_objects=40, seed=0):
    """Views with exactly these variances between objects and within them."""
    dim = len(between)
    normal = np.random.default_rng(seed).normal(size=(num_objects, dim))
    centred, _ = np.linalg.qr(normal - normal.mean(axis=0))
    means = centred * np.sqrt(num_objects * np.asarray(between))
    # Two views a dimension, one to each side of the mean.
    steps = np.diag(np.sqrt(dim * np.asarray(within)))
    return 3 + means[:, None] + np.concatenate([steps, -steps])


def exponential_entropy(values):
    shares = np.asarray(values) / np.sum(values)
    shares = shares[shares > 0]
    return np.exp(-np.sum(shares * np.log(shares)))


def test_isotropic_objects_and_views_use_all_dimensions():
    assert lidar(views([2.0] * 6, [0.5] * 6)) == pytest.approx(6.0, rel=1e-9)


def test_objects_on_a_line_have_rank_one():
    features = views([2.0, 0, 0, 0], [0.5, 1, 2, 4])
    assert lidar(features) == pytest.approx(1.0, abs=1e-9)


def test_equal_objects_have_rank_one():
    assert lidar(np.full((5, 3, 4), 2.0)) == 1.0
    assert lidar(np.tile(views([1, 1], [1, 1])[:1], (4, 1, 1))) == 1.0


def test_dimensions_count_by_how_far_they_separate_objects_beyond_views():
    between, within = np.array([4.0, 1, 1, 0.5]), np.array([0.5, 0.25, 8, 0.0])
    for delta in (1e-4, 0.3):
        expected = exponential_entropy(between / (within + delta))
        rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
        features = views(between, within) @ rotation
        assert lidar(features, delta) == pytest.approx(expected, rel=1e-9)


def test_whitening_undoes_a_linear_map_of_the_features():
    features = views([3.0, 2, 1], [0.3, 0.2, 0.4])
    mapped = features @ np.random.default_rng(2).normal(size=(3, 3))
    assert lidar(mapped, 1e-12) == pytest.approx(lidar(features, 1e-12), rel=1e-6)


def test_tensors_in_float32_and_fewer_objects_than_dimensions():
    features = np.random.default_rng(3).normal(size=(5, 4, 12)).astype("float32")
    rank = lidar(keras.ops.convert_to_tensor(features))
    assert rank == pytest.approx(lidar(features.astype("float64")), rel=1e-9)
    assert rank <= 4


def test_features_that_are_not_finite_are_nan():
    assert np.isnan(lidar(np.full((2, 2, 2), np.inf)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="num_objects, num_views, hidden_dim"):
        lidar(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="least 2 views"):
        lidar(np.zeros((4, 1, 5)))
    with pytest.raises(ValueError, match="`delta`"):
        lidar(np.zeros((4, 2, 5)), delta=0)
