"""Encoders of clips at work: features, the attentive probe, classifiers."""

import numpy as np
import pytest
from harness import make_video_model

from keras_iwm.backbones import VideoEncoder, ViTEncoder
from keras_iwm.downstream import ImageClassifier, WorldModelBackbone, attentive_probe
from keras_iwm.evaluation import extract_features
from keras_iwm.optimizers import AdamW

ENCODER = VideoEncoder(16, 4, 24, 1, 2, num_frames=4)


def clips_that_brighten_or_darken(count):
    """Noise whose mean goes up or down, by as much over time: labels 1 and 0."""
    draws = np.random.default_rng(count)
    labels = draws.integers(0, 2, count)
    noise = draws.uniform(60, 120, (count, 1, 16, 16, 3))
    slopes = (2 * labels - 1).reshape(-1, 1, 1, 1, 1) * 40
    times = np.linspace(-0.5, 0.5, 4).reshape(1, -1, 1, 1, 1)
    return (noise + slopes * times).astype("uint8"), labels


@pytest.mark.parametrize("num_axes", [5, 4], ids=["clips", "images"])
def test_features_are_the_latents(num_axes):
    clips, _ = clips_that_brighten_or_darken(5)
    inputs = clips if num_axes == 5 else clips[:, 0]
    expected = ENCODER.predict(inputs, verbose=0)
    assert expected.shape == (5, 32 if num_axes == 5 else 16, 24)
    found = extract_features(ENCODER, inputs, batch_size=3, pooled=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    found = extract_features(ENCODER, inputs, batch_size=3, blocks=("stem", "norm"))
    np.testing.assert_allclose(found[:, 24:], expected.mean(axis=1), atol=1e-5)


def test_an_attentive_probe_tells_clips_by_what_changes():
    # Made here, from the test's own seed: not every random encoder tells as well.
    encoder = VideoEncoder(16, 4, 24, 1, 2, num_frames=4)
    train, test = (clips_that_brighten_or_darken(count) for count in (96, 48))
    # Both have the same frames, in another order: images do not tell.
    results = attentive_probe(
        *(extract_features(encoder, train[0], pooled=False), train[1]),
        *(extract_features(encoder, test[0], pooled=False), test[1]),
        **{"num_heads": 2, "epochs": 40, "batch_size": 32, "learning_rate": 1e-2},
        verbose=False,
    )
    assert results["accuracy"] > 0.9


@pytest.mark.parametrize("protocol", ["frozen", "end_to_end"])
def test_a_classifier_takes_clips_and_images(protocol):
    backbone = WorldModelBackbone.from_world_model(make_video_model(), protocol)
    classifier = ImageClassifier(backbone, 2)
    classifier.compile(AdamW(1e-3))
    clips, labels = clips_that_brighten_or_darken(4)
    history = classifier.fit(clips, labels, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert classifier.predict(clips, verbose=0).shape == (4, 2)
    assert classifier.predict(clips[:, 0], verbose=0).shape == (4, 2)
    with pytest.raises(ValueError, match="num_clips, frames"):
        classifier.predict(clips[..., :2], verbose=0)


@pytest.mark.parametrize(
    ("encoder", "shape", "words"),
    [
        (ENCODER, (2, 8, 16, 16, 3), "must have 4 frames"),
        (ENCODER, (2, 4, 20, 16, 3), "must be"),
        (ENCODER, (2, 4, 16, 16, 2), "must have shape"),
        (ViTEncoder(16, 4, 24, 1, 2), (2, 4, 16, 16, 3), "must have shape"),
    ],
)
def test_clips_that_do_not_fit_are_refused(encoder, shape, words):
    with pytest.raises(ValueError, match=words):
        extract_features(encoder, np.full(shape, 200, "uint8"))
