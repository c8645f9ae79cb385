"""Losses against collapse, against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.layers import SlicedGaussianRegularizer, VarianceCovarianceRegularizer
from keras_iwm.seeds import hash_seed

RNG = np.random.default_rng(0)
REGULARIZERS = [
    VarianceCovarianceRegularizer(),
    SlicedGaussianRegularizer(seed=0),
]


def loss_of(regularizer, latents, **arguments):
    latents = np.asarray(latents, "float32")
    return float(ops.convert_to_numpy(regularizer(latents, **arguments)))


def latents_of(kind, batch_size=64):
    """Latents of 9 patches with 12 features, fallen to what the name says."""
    latents = RNG.normal(size=(batch_size, 9, 12))
    if kind == "points":
        return np.zeros_like(latents)
    if kind == "positions":  # no image differs from another
        return np.tile(latents[:1], (batch_size, 1, 1))
    if kind == "lines":  # all features are the same
        return np.tile(latents[..., :1], (1, 1, 12))
    return latents


def test_variance_and_covariance_match_numpy():
    latents = RNG.normal(size=(6, 5, 4)) * [0.1, 1.0, 2.0, 0.5] + 3
    latents[..., 3] += latents[..., 2]
    samples = (latents - latents.mean(axis=0)).reshape(-1, 4)
    variance = missing = together = 0.0
    for one in range(4):
        for two in range(4):
            covariance = np.sum(samples[:, one] * samples[:, two]) / (5 * 5)
            if one != two:
                together += covariance**2 / 4
            else:
                missing += max(0.0, 1 - np.sqrt(covariance + 1e-4)) / 4
                variance += covariance
    assert missing > 0.1
    for weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 0.5)):
        found = loss_of(VarianceCovarianceRegularizer(*weights), latents)
        expected = weights[0] * missing + weights[1] * together
        assert found == pytest.approx(expected, rel=1e-4)


def test_sliced_gaussian_matches_numpy():
    latents = RNG.normal(size=(6, 5, 4)) * [0.1, 1.0, 2.0, 0.5]
    samples = (latents - latents.mean(axis=0)).reshape(-1, 4)
    directions = keras.random.normal((4, 8), seed=hash_seed(5, 1))
    directions = ops.convert_to_numpy(directions)
    times = np.linspace(0, 3, 17)
    expected = 0.0
    for direction in directions.T:
        places = samples @ (direction / np.linalg.norm(direction))
        characteristic = np.exp(1j * times[:, None] * places).mean(axis=1)
        difference = np.abs(characteristic - np.exp(-(times**2) / 2)) ** 2
        expected += np.trapezoid(difference * np.exp(-(times**2) / 2), times) / 8
    regularizer = SlicedGaussianRegularizer(0.5, num_directions=8, seed=5)
    assert loss_of(regularizer, latents) == pytest.approx(3 * expected, rel=1e-4)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda r: type(r).__name__)
def test_every_collapse_costs_more_than_a_normal(regularizer):
    normal = loss_of(regularizer, latents_of("normal"))
    for kind in ("points", "positions", "lines"):
        assert loss_of(regularizer, latents_of(kind)) > 5 * normal, kind


def test_directions_are_new_in_training_and_the_same_without():
    regularizer = SlicedGaussianRegularizer(num_directions=4, seed=0)
    latents = latents_of("lines")
    found = [loss_of(regularizer, latents, training=True) for _ in range(2)]
    assert found[0] != found[1]
    found = [loss_of(regularizer, latents, training=False) for _ in range(2)]
    assert found[0] == found[1]
