"""The predictor of what follows: its numbers, what it sees, and its rollouts."""

import numpy as np
import pytest
from harness import fill
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import DynamicsPredictor


def make_predictor(state_dim=0, **arguments):
    predictor = DynamicsPredictor(
        *((2, 3), 16, 24, 2, 2, 3),
        state_dim=state_dim,
        num_frames=6,
        **arguments,
    )
    fill(predictor)
    return predictor


def inputs(num_steps=4, state_dim=0):
    draws = np.random.default_rng(5)
    latents = numpy_vit.normalized(draws.normal(size=(2, num_steps, 6, 16)))
    parts = [latents, draws.uniform(-1, 1, (2, num_steps, 3))]
    if state_dim:
        parts.append(draws.normal(size=(2, num_steps, state_dim)))
    return [part.astype("float32") for part in parts]


def numpy(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor))


@pytest.mark.parametrize("state_dim", [0, 2])
def test_predictions_and_rollouts_equal_the_numpy_forward_pass(state_dim):
    predictor = make_predictor(state_dim)
    latents, *conditions = inputs(state_dim=state_dim)
    expected = numpy_vit.predict_next(predictor, latents, *conditions)
    predictions = numpy(predictor(latents, *conditions))
    np.testing.assert_allclose(predictions, expected, atol=2e-5)
    # Two frames are known; each prediction is appended to what is predicted from.
    known = latents[:, :2].astype("float64")
    for step in (2, 3, 4):
        until = [condition[:, :step] for condition in conditions]
        following = numpy_vit.predict_next(predictor, known, *until)
        known = np.concatenate([known, following[:, -1:]], axis=1)
    imagined = numpy(predictor.rollout(latents[:, :2], *conditions))
    assert imagined.shape == (2, 3, 6, 16)
    np.testing.assert_allclose(imagined, known[:, 2:], atol=2e-5)
    # One step is what teacher forcing says.
    one = numpy(predictor.rollout(latents, *conditions))
    np.testing.assert_allclose(one, predictions[:, -1:], atol=1e-5)


@pytest.mark.parametrize("changed", [0, 1, 2], ids=["latents", "actions", "states"])
def test_nothing_is_seen_before_its_time(changed):
    predictor = make_predictor(state_dim=2)
    parts = inputs(state_dim=2)
    before = numpy(predictor(*parts))
    parts[changed] = parts[changed].copy()
    parts[changed][:, 2] += np.random.default_rng(0).normal(
        size=parts[changed][:, 2].shape
    )
    difference = np.abs(numpy(predictor(*parts)) - before).max(axis=(0, 3))
    np.testing.assert_array_equal(difference[:2], 0)
    # Every patch of the step and of those that follow notices.
    assert (difference[2:] > 1e-4).all()


def test_at_first_the_next_frame_is_the_last_one():
    predictor = DynamicsPredictor((2, 3), 16, 24, 2, 2, 3)
    latents, actions = inputs()
    np.testing.assert_allclose(numpy(predictor(latents, actions)), latents, atol=1e-5)


def test_what_does_not_fit_is_refused():
    predictor = make_predictor()
    latents, actions = inputs()
    with pytest.raises(ValueError, match="`latents` must have shape"):
        predictor(latents[:, :, :5], actions)
    with pytest.raises(ValueError, match="`actions` must have shape"):
        predictor(latents, actions[:, :3])
    with pytest.raises(ValueError, match="`states` must be there"):
        predictor(latents, actions, actions)
    with pytest.raises(ValueError, match="`states` must be there"):
        make_predictor(state_dim=2)(latents, actions)
    with pytest.raises(ValueError, match="larger `num_frames`"):
        predictor.rollout(latents, np.concatenate([actions, actions], axis=1))
    with pytest.raises(ValueError, match="`actions` must lead from each"):
        predictor.rollout(latents, actions[:, :3])
    with pytest.raises(ValueError, match="rows and columns"):
        DynamicsPredictor((2, 3, 4), 16, 24, 2, 2, 3)
