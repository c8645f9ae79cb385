"""What heads learn of a patch that could be several things, and where they agree."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm import optimizers
from keras_iwm.heads import DiffusionHead, SquaredErrorHead

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "heads_on_a_ring.py"
specification = importlib.util.spec_from_file_location("heads_on_a_ring", EXAMPLE)
ring = importlib.util.module_from_spec(specification)
specification.loader.exec_module(ring)

STEPS = 150
# Fewer clusters than in the picture, which take a minute to tell apart.
CENTRES = ring.ring_of_centres(4)


def learned(name):
    """Measures of the samples of a head that was fitted to the ring for seconds."""
    keras.utils.set_random_seed(0)
    head = ring.make_heads(64)[name]
    ring.fit_head(head, CENTRES, steps=2 * STEPS, batch_size=64)
    return ring.measure(ring.draw_samples(head, 1000), CENTRES)


@pytest.mark.parametrize(
    "name", ["diffusion, noise", "diffusion, clean", "denoising steps"]
)
def test_samples_of_a_denoising_head_are_in_all_clusters(name):
    found = learned(name)
    assert found["modes"] == len(CENTRES)
    assert found["in_modes"] > 0.5
    np.testing.assert_allclose(found["mean"], 0.0, atol=0.1)
    np.testing.assert_allclose(found["variance"], 1.0, atol=0.15)


def test_squared_error_learns_the_mean_where_no_patch_is():
    found = learned("squared error")
    assert found["in_modes"] == 0
    np.testing.assert_allclose(found["mean"], 0.0, atol=0.1)
    np.testing.assert_allclose(found["variance"], 0.0, atol=1e-6)


def test_measure_tells_clusters_from_a_ring():
    found = ring.measure(ring.draw_patches(CENTRES, 4000, seed=2), CENTRES)
    assert found["modes"] == 4
    assert found["in_modes"] == pytest.approx(1 - np.exp(-1.125), abs=0.02)
    np.testing.assert_allclose(found["variance"], 1.0, atol=0.05)
    many = ring.draw_patches(ring.ring_of_centres(100), 4000)
    assert ring.measure(many, CENTRES)["in_modes"] < 0.35


class Conditioned(keras.Model):
    """A head alone on pairs of a condition and a patch."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.squared_error = keras.losses.MeanSquaredError()
        self.built = True

    def call(self, pairs, training=None):
        return self.head(*pairs, training=training)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return self.squared_error(y_pred["target"], y_pred["prediction"])


def test_next_to_no_signal_makes_the_clean_patch_a_squared_error():
    """Nothing is to be seen but the condition, so both learn the same mean."""
    draws = np.random.default_rng(0)
    conditions = draws.normal(size=(128 * STEPS, 3)).astype("float32")
    mean = np.tanh(conditions @ draws.normal(size=(3, 4)))
    noise = draws.normal(0, 0.6, mean.shape)
    patches = (mean + noise).astype("float32")
    sizes = {"condition_dim": 3, "patch_dim": 4, "hidden_dim": 32, "num_layers": 1}
    clean = {"prediction": "clean", "signal_beta": (1e-3, 1), "num_noise_levels": 1}
    losses, predictions = [], []
    for head in (SquaredErrorHead(**sizes), DiffusionHead(**sizes, **clean, seed=0)):
        keras.utils.set_random_seed(0)
        model = Conditioned(head)
        rate = keras.optimizers.schedules.CosineDecay(1e-2, STEPS)
        model.compile(optimizers.AdamW(rate))
        model.fit((conditions, patches), batch_size=128, verbose=0)
        outputs = head(conditions[:2000], patches[:2000])
        prediction, target = (
            ops.convert_to_numpy(outputs[key]).reshape(2000, 4)
            for key in ("prediction", "target")
        )
        losses.append(np.mean((prediction - target) ** 2))
        predictions.append(prediction)
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] < 0.42  # of which 0.36 are the noise's
    spread = np.var(predictions[0])
    assert np.mean((predictions[0] - predictions[1]) ** 2) < 0.1 * spread
