from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import r2_score

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder
from keras_iwm.evaluation.action_probes import action_r2, r2
from keras_iwm.evaluation.mlp_predictions import mlp_predictions
from keras_iwm.evaluation.pair_latents import PairLatents
from keras_iwm.views import MultiBlockMask, ViewGenerator

SIZE = 20


class MeanEncoder(keras.Model):
    """Latents are the image's mean and noise-like pixels that jitter cannot change."""

    def __init__(self, with_mean=True, **kwargs):
        super().__init__(**kwargs)
        self.with_mean = with_mean

    def call(self, images, training=None):
        images = ops.cast(images, "float32")
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        # Rounded: what is left of brightness is less than the step.
        pixels = ops.round(images[:, 0, :6, 0] / mean[:, 0, 0] * 50.0)
        latents = ops.concatenate([float(self.with_mean) * mean[:, 0, 0], pixels], -1)
        return ops.repeat(latents[:, None], 25, axis=1)

    def get_config(self):
        return {"with_mean": self.with_mean, "name": self.name}


def test_probe_reads_an_action_that_latents_hold_and_no_other():
    jitter = ColorJitter(contrast=0.0, saturation=0.0, hue=0.0, probability=0.9)
    model = SimpleNamespace(
        feature_encoder=MeanEncoder(),
        encoder=MeanEncoder(with_mean=False),  # what the untrained one is made from
        view_generator=ViewGenerator(SIZE, MultiBlockMask(5), actions=[jitter]),
    )
    generator = np.random.default_rng(1)
    images = generator.uniform(70, 130, (60, SIZE, SIZE, 3))
    images += 100 - images.mean(axis=(1, 2, 3), keepdims=True)
    results = [
        action_r2(model, images[:40], images[40:], 1024, verbose=False)
        for _ in range(2)
    ]
    assert results[0]["linear"]["brightness"]["value"] > 0.999
    assert results[0]["mlp"]["brightness"]["value"] > 0.95
    for probe in ("linear", "mlp"):
        assert abs(results[0][probe]["brightness"]["untrained"]) < 0.1
        # A slot whose range is 0 never changes.
        assert np.isnan(results[0][probe]["hue"]["value"])
    np.testing.assert_equal(results[1], results[0])


def test_pairs_are_the_views_that_the_draws_say():
    views = ViewGenerator(SIZE, MultiBlockMask(5))
    encoder = ViTEncoder(SIZE, 4, hidden_dim=16, num_layers=1, num_heads=2)
    images = np.random.default_rng(2).integers(0, 256, (3, SIZE, SIZE, 3), "uint8")
    latents, actions = PairLatents(views, (encoder,)).of_pairs(
        images, 10, (4, 5), batch_size=4, verbose=False
    )
    generator = np.random.default_rng((4, 5))
    order = generator.permutation(3)
    draws = generator.random((10, 16), dtype="float32")
    chosen = images[order[np.arange(10) % 3]].astype("float32")
    target, source = (
        np.asarray(ops.convert_to_numpy(views.action_space.shared.sample(part)))
        for part in (draws[:, :5], draws[:, 5:10])
    )
    scales = [0.8, 0.8, 0.4, 0.2]
    np.testing.assert_allclose(actions[:, :4], (target - source) / scales, atol=1e-6)
    # Each destructive operation has a gate and a parameter.
    flags = draws[:, 10::2] < 0.2
    assert 0 < flags.sum() < flags.size
    np.testing.assert_array_equal(actions[:, 4:], flags)
    source_views = views.apply_shared(chosen, source) / 255.0
    for index, transform in enumerate(views.action_space.destructive.transforms):
        parameters = transform.sample(draws[:, 10 + 2 * index : 12 + 2 * index])
        source_views = transform.apply(source_views, parameters)
    pooled = [
        ops.convert_to_numpy(ops.mean(encoder(view), axis=1))
        for view in (255.0 * source_views, views.apply_shared(chosen, target))
    ]
    expected = np.concatenate(pooled, axis=1)
    np.testing.assert_allclose(latents[0], expected, atol=2e-4)


def test_r2_equals_scikit_learn():
    generator = np.random.default_rng(0)
    values, predictions = generator.normal(size=(2, 30, 3))
    expected = r2_score(values, predictions, multioutput="raw_values")
    np.testing.assert_allclose(r2(values, predictions), expected)


def test_mlp_learns_what_no_line_can_and_repeats_itself():
    generator = np.random.default_rng(0)
    features = 5.0 + 3.0 * generator.normal(size=(1200, 4))
    values = np.abs(features[:, :1] - 5.0) * np.array([[10.0, 0.0]])
    outputs = mlp_predictions(features[:1000], values[:1000], features[1000:])
    scores = r2(values[1000:], outputs)
    assert scores[0] > 0.9
    assert outputs[:, 1] == pytest.approx(0.0, abs=1.0)
    again = mlp_predictions(features[:1000], values[:1000], features[1000:])
    np.testing.assert_array_equal(again, outputs)
