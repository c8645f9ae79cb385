"""Surprise against its definition, and against what it must and must not see."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_iwm.backbones import VideoEncoder, ViTEncoder
from keras_iwm.datasets import MovingPhotos
from keras_iwm.evaluation import evaluate_surprise, surprise
from keras_iwm.evaluation.evaluate_surprise import share_of_pairs
from keras_iwm.evaluation.expected_latents import ExpectedLatents
from keras_iwm.models import LatentDynamicsModel, VideoWorldModel

RNG = np.random.default_rng(0)
PHOTOS = list(RNG.integers(0, 256, (2, 48, 64, 3), "uint8"))
FRAMES = RNG.integers(0, 256, (3, 4, 16, 16, 3), "uint8")
ACTIONS = RNG.uniform(-1, 1, (3, 3, 4)).astype("float32")


def make_model(**encoder_arguments):
    keras.utils.set_random_seed(0)
    encoder = ViTEncoder(16, 8, 12, 1, 2, **encoder_arguments)
    model = LatentDynamicsModel.from_encoder(encoder, MovingPhotos.slots, num_frames=8)
    # A new one predicts that nothing changes.
    draws = np.random.default_rng(1)
    for weight in model.predictor.trainable_variables:
        weight.assign(draws.normal(scale=0.2, size=weight.shape))
    return model


class AtOnce(keras.Model):
    """A function of a model and inputs, compiled as one: quicker than by operations."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function
        self.built = True

    def call(self, inputs):
        return self.function(self.model, inputs)


MODEL = make_model()
# Compiled once for clips of one length.
EXPECTED = ExpectedLatents(MODEL)


def differences(frames, actions):
    return EXPECTED.differences(frames, actions, 2)


def test_a_dynamics_model_is_surprised_by_its_error_at_each_frame():
    found = surprise(MODEL, FRAMES, ACTIONS, batch_size=2)

    def predict(model, inputs):
        latents = model.encode(inputs["frames"])
        return latents, model.predict_next(latents[:, :-1], inputs["actions"])

    inputs = {"frames": FRAMES, "actions": ACTIONS}
    latents, predicted = AtOnce(MODEL, predict).predict_on_batch(inputs)
    for name, expected in (("prediction", predicted), ("copy", latents[:, :-1])):
        assert found[name].shape == (3, 4)
        assert np.isnan(found[name][:, 0]).all()
        difference = abs(expected - latents[:, 1:]).mean(axis=(2, 3))
        np.testing.assert_allclose(found[name][:, 1:], difference, atol=1e-5)
    assert abs(found["untrained"] - found["copy"])[:, 1:].min() > 1e-3


def test_surprise_knows_nothing_of_later_frames_and_actions():
    frames, actions = FRAMES.copy(), ACTIONS.copy()
    frames[:, 2:], actions[:, 1:] = 0, 0
    one, two = differences(FRAMES, ACTIONS), differences(frames, actions)
    for name in one:
        np.testing.assert_allclose(one[name][:, 1], two[name][:, 1], atol=1e-6)
        assert abs(one[name][:, 2] - two[name][:, 2]).max() > 1e-2


def test_nothing_that_happens_is_no_surprise_to_who_copies():
    frames = np.repeat(FRAMES[:, :1], 4, axis=1)
    found = differences(frames, ACTIONS)
    np.testing.assert_allclose(found["copy"][:, 1:], 0, atol=1e-6)
    np.testing.assert_allclose(found["untrained"][:, 1:], 0, atol=1e-6)
    assert found["prediction"][:, 1:].min() > 0.1


def test_a_video_model_is_surprised_by_its_error_at_each_tubelet(monkeypatch):
    encoder = VideoEncoder(16, 4, 12, 1, 2, num_frames=6)
    model = VideoWorldModel.from_encoder(encoder)
    clips = RNG.integers(0, 256, (2, 6, 16, 16, 3), "uint8")
    expected = ExpectedLatents(model)
    found = expected.differences(clips, np.zeros((2, 5, 0)), 2)
    ids = np.tile(np.arange(48), (2, 1))
    past, now = ids[:, :32], ids[:, 32:]

    def predict(model, inputs):
        context = model.encoder(inputs["clips"], inputs["past"])
        ids = inputs["past"], inputs["now"]
        predicted = model.predictor(context, *ids, mask_index=1)
        return predicted, model.feature_encoder(inputs["clips"])

    inputs = {"clips": clips, "past": past, "now": now}
    predicted, latents = (
        (a - a.mean(-1, keepdims=True)) / a.std(-1, keepdims=True)
        for a in AtOnce(model, predict).predict_on_batch(inputs)
    )
    for name, values in (("prediction", predicted), ("copy", latents[:, 16:32])):
        assert np.isnan(found[name][:, :2]).all()
        assert np.isfinite(found[name][:, 2:4]).all()
        np.testing.assert_array_equal(found[name][:, 4], found[name][:, 5])
        difference = abs(values - latents[:, 32:]).mean(axis=(1, 2))
        np.testing.assert_allclose(found[name][:, 4], difference, atol=1e-3)
    clips[:, 4:] = 0
    later = expected.differences(clips, np.zeros((2, 5, 0)), 2)
    for name in found:
        np.testing.assert_allclose(later[name][:, :4], found[name][:, :4], atol=1e-6)
        assert abs(later[name] - found[name])[:, 4].max() > 1e-2
    maker = MovingPhotos(PHOTOS, image_size=16, num_frames=6)
    monkeypatch.setattr(ExpectedLatents, "differences", lambda *_: found)
    report = evaluate_surprise(model, maker, 2, ["jumps"])
    assert report["events"]["jumps"]["curves"]["frames"][-3] <= -1
    with pytest.raises(ValueError, match="`actions` must be None"):
        surprise(model, clips, np.zeros((3, 5, 4)))


@pytest.mark.parametrize("hits", [0, 7, 20])
def test_shares_have_the_interval_of_wilson(hits):
    found = share_of_pairs(np.arange(20) < hits, np.full(20, 0.5))
    interval = stats.binomtest(hits, 20).proportion_ci(method="wilson")
    assert found["value"] == hits / 20
    np.testing.assert_allclose(
        [found["low"], found["high"]], [interval.low, interval.high], atol=1e-5
    )
    # Equal ones are told apart by a coin.
    assert share_of_pairs(np.zeros(4), np.zeros(4))["value"] == 0.5


def test_a_report_counts_pairs_and_aligns_curves_at_the_events(monkeypatch):
    """With a model that is surprised by pixels that change, and three of clips."""
    maker = MovingPhotos(PHOTOS, image_size=16, num_frames=8)
    batches = []

    def by_pixels(expected, frames, actions, batch_size):
        change = abs(np.diff(frames.astype("float32"), axis=1)).mean(axis=(2, 3, 4))
        change = np.pad(change, ((0, 0), (1, 0)), constant_values=np.nan)
        batches.append((frames, actions))
        # Possible clips come first.
        knows = np.full_like(change, len(batches) % 2 == 0)
        return {"prediction": change, "copy": knows, "untrained": 1 - knows}

    monkeypatch.setattr(ExpectedLatents, "differences", by_pixels)
    report = evaluate_surprise(MODEL, maker, 30, ["jumps", "passes_wall"], seed=1)
    assert list(report["events"]) == ["jumps", "passes_wall"]
    jumps = report["events"]["jumps"]
    shares = {name: jumps["accuracy"][name] for name in ("copy", "untrained")}
    assert [share["value"] for share in shares.values()] == [1, 0]
    assert jumps["accuracy"]["prediction"]["value"] > 0.9
    assert jumps["accuracy"]["chance"] == 0.5
    curves = jumps["curves"]
    assert curves["frames"] == [-3, -2, -1, 0, 1]
    ratio = np.array(curves["impossible"]) / curves["possible"]
    np.testing.assert_allclose(ratio[:3], 1, rtol=1e-6)
    assert ratio[3] > 1.5 > 1.2 > abs(ratio[4])
    passes = report["events"]["passes_wall"]["accuracy"]["prediction"]["value"]
    assert 0.2 < passes < 0.8
    assert batches[0][1].shape == (30, 7, 4)
    assert not batches[0][1].any()


def test_clips_are_brought_to_the_range_of_the_model():
    maker = MovingPhotos(PHOTOS, image_size=16, num_frames=4)
    model = make_model(value_range=(0, 1))
    model.set_weights(MODEL.get_weights())
    reports = [
        evaluate_surprise(m, maker, 2, ["changes_color"]) for m in (MODEL, model)
    ]
    one, two = (r["events"]["changes_color"]["curves"]["possible"] for r in reports)
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_what_does_not_fit_is_refused():
    encoder = ViTEncoder(16, 8, 12, 1, 2)
    for model in (None, encoder):
        with pytest.raises(ValueError, match="`model` must be a LatentDynamicsModel"):
            surprise(model, FRAMES, ACTIONS)
    for frames in (FRAMES[:, :1], FRAMES[:, :, :8], np.tile(FRAMES, (1, 3, 1, 1, 1))):
        with pytest.raises(ValueError, match="`frames` must be clips of 2 to 8"):
            surprise(MODEL, frames, ACTIONS)
    for actions in (None, ACTIONS[:2], ACTIONS * np.nan):
        with pytest.raises(ValueError, match="`actions` must be"):
            surprise(MODEL, FRAMES, actions)
    for arguments in ({"image_size": 32}, {"image_size": 16, "num_frames": 9}):
        maker = MovingPhotos(PHOTOS, **arguments)
        with pytest.raises(ValueError, match="`maker.(image_size|num_frames)` must"):
            evaluate_surprise(MODEL, maker, 2)
