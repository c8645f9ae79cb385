import numpy as np
import pytest
from keras import ops
from reference.point_world import PointWorld, walks

from keras_iwm.backbones import ViTEncoder
from keras_iwm.models import LatentDynamicsModel
from keras_iwm.planning import (
    CrossEntropyPlanner,
    GreedyPlanner,
    PathIntegralPlanner,
    Planner,
    RandomPlanner,
)

SEARCHES = (CrossEntropyPlanner, PathIntegralPlanner, RandomPlanner, GreedyPlanner)


def task(count=3, steps=1, known=1):
    frames, actions = walks(count, steps + known - 1)
    return frames[:, :known], frames[:, -1], actions[:, : known - 1]


def energy(frames, goals, actions, step=1.0):
    """Mean absolute difference of places, for `(goals, ..., horizon, 2)` actions."""
    ends = frames[:, -1, 0, :, 0] + step * actions.sum(axis=1)
    return np.abs(ends - goals[:, 0, :, 0]).mean(axis=1)


def cross_entropy_method(planner, distance, dim):
    """The method for one goal, in plain NumPy."""
    noise = planner.draw(np.random.default_rng([planner.seed, 0])).astype("float32")
    mean, deviation = np.zeros((planner.horizon, dim)), np.ones((planner.horizon, dim))
    means = []
    for round_noise in noise:
        candidates = np.clip(mean + deviation * round_noise, -1, 1)
        order = np.argsort([distance(actions) for actions in candidates])
        elites = candidates[order[: planner.num_elites]]
        kept = planner.momentum
        mean = kept * mean + (1 - kept) * elites.mean(axis=0)
        deviation = kept * deviation + (1 - kept) * elites.std(axis=0)
        means.append(mean)
    return np.array(means)


def path_integral_control(planner, distance, dim):
    noise = planner.draw(np.random.default_rng([planner.seed, 0])).astype("float32")
    mean, means = np.zeros((planner.horizon, dim)), []
    for round_noise in noise:
        candidates = np.clip(mean + round_noise, -1, 1)
        energies = np.array([distance(actions) for actions in candidates])
        weights = np.exp(-(energies - energies.min()) / energies.std() / 0.3)
        mean = np.einsum("n,nha->ha", weights / weights.sum(), candidates)
        means.append(mean)
    return np.array(means)


@pytest.mark.parametrize("horizon", [1, 2])
def test_methods_are_those_of_numpy(horizon):
    frames, goals, _ = task(1, horizon)

    def distance(actions):
        return energy(frames, goals, actions[None])[0]

    sizes = {"horizon": horizon, "num_samples": 12, "num_iterations": 3, "seed": 5}
    planner = CrossEntropyPlanner(PointWorld(), num_elites=4, momentum=0.2, **sizes)
    expected = cross_entropy_method(planner, distance, 2)
    plan = planner.plan(frames, goals)
    np.testing.assert_allclose(plan.history[0], expected, atol=1e-5)
    np.testing.assert_allclose(plan.actions[0], expected[-1], atol=1e-5)
    planner = PathIntegralPlanner(PointWorld(), noise=0.4, temperature=0.3, **sizes)
    expected = path_integral_control(planner, distance, 2)
    plan = planner.plan(frames, goals)
    np.testing.assert_allclose(plan.history[0], expected, atol=1e-5)
    np.testing.assert_allclose(plan.energies[0], distance(expected[-1]), atol=1e-5)


def test_random_search_keeps_the_best_of_all():
    frames, goals, _ = task(1, 2)
    planner = RandomPlanner(PointWorld(), 2, num_samples=5, num_iterations=4)
    draws = planner.draw(np.random.default_rng([0, 0])).astype("float32")
    plan = planner.plan(frames, goals)
    for end in range(1, 5):
        seen = draws[:end].reshape(-1, 2, 2)
        best = min(seen, key=lambda actions: energy(frames, goals, actions[None])[0])
        np.testing.assert_allclose(plan.history[0, end - 1], best, atol=1e-6)


def test_greedy_search_takes_the_best_step_each_time():
    frames, goals, _ = task(1, 2)
    planner = GreedyPlanner(PointWorld(), 2, num_samples=5, num_iterations=3)
    draws = planner.draw(np.random.default_rng([0, 0])).astype("float32")
    plan = planner.plan(frames, goals)
    before = np.zeros((0, 2))
    for step in range(2):
        rows = [np.concatenate([before, row]) for row in draws[step].reshape(-1, 1, 2)]
        before = min(rows, key=lambda actions: energy(frames, goals, actions[None])[0])
        shown = plan.history[0, 3 * step + 2]
        np.testing.assert_allclose(shown[: step + 1], before, atol=1e-6)
        np.testing.assert_array_equal(shown[step + 1 :], 0.0)
    np.testing.assert_allclose(plan.actions[0], before, atol=1e-6)


@pytest.mark.parametrize("search", SEARCHES)
def test_plans_lead_to_the_goal(search):
    frames, goals, past = task(5, 2, known=2)
    planner = search(PointWorld(), 2, num_samples=128, num_iterations=6)
    plan = planner.plan(frames, goals, past)
    assert plan.actions.shape == (5, 2, 2)
    assert np.abs(plan.actions).max() <= 1
    np.testing.assert_allclose(
        plan.energies, energy(frames, goals, plan.actions), atol=1e-5
    )
    nothing = energy(frames, goals, np.zeros((5, 2, 2)))
    exact = {CrossEntropyPlanner: 0.02, PathIntegralPlanner: 0.1}.get(search, 0.2)
    assert plan.energies.mean() < exact * nothing.mean()


@pytest.mark.parametrize("search", SEARCHES)
def test_batches_change_nothing(search):
    frames, goals, _ = task(5)
    sizes = {"num_samples": 16, "num_iterations": 2}
    plans = [
        search(PointWorld(), batch_size=size, **sizes).plan(frames, goals)
        for size in (2, 9)
    ]
    for one, other in zip(*plans, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not np.allclose(
        search(PointWorld(), seed=1, **sizes).plan(frames, goals).actions,
        plans[0].actions,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "`model` must be a LatentDynamicsModel"),
        ({"horizon": 0}, "`horizon` must be an integer from 1 to 7"),
        ({"horizon": 8}, "`horizon` must be an integer from 1 to 7"),
        ({"num_samples": 1}, "`num_samples` must be an integer of at least 2"),
        ({"num_elites": 9}, "`num_elites` must be an integer from 2 to 8"),
        ({"momentum": 1}, "`momentum` must be a finite number from 0 to below 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropyPlanner(
            **{"model": PointWorld(), "num_samples": 8, "num_elites": 2, **arguments}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((2, 1, 2, 1))}, "`frames` must have shape"),
        ({"frames": np.zeros((2, 8, 1, 2, 1))}, "`frames` must have 7 frames or few"),
        ({"frames": np.full((2, 2, 1, 2, 1), 9.0)}, "`frames` must lie in the model"),
        ({"goals": np.zeros((3, 1, 2, 1))}, "`goals` must be 2 images"),
        ({"goals": np.zeros((2, 2, 2, 1))}, r"`goals` must be \(1, 2\) pixels"),
        ({"past_actions": None}, "`past_actions` must be an array"),
        ({"past_actions": np.zeros((2, 2, 2))}, r"must have shape \(2, 1, 2\)"),
        ({"past_actions": np.full((2, 1, 2), 3.0)}, r"must lie in \[-1, 1\]"),
    ],
)
def test_bad_goals_are_refused(change, message):
    planner = RandomPlanner(PointWorld())
    right = {
        "frames": np.zeros((2, 2, 1, 2, 1)),
        "goals": np.zeros((2, 1, 2, 1)),
        "past_actions": np.zeros((2, 1, 2)),
    }
    with pytest.raises(ValueError, match=message):
        planner.plan(**{**right, **change})


def test_a_search_of_ones_own():
    class Still(Planner):
        """Never moves."""

        def draw(self, random):
            return np.zeros((1, 1, self.horizon, self.model.action_dim))

        def search(self, energies_of, draws):
            return draws[:, 0]

    frames, goals, _ = task(2)
    plan = Still(PointWorld()).plan(frames, goals)
    np.testing.assert_array_equal(plan.actions, np.zeros((2, 1, 2)))
    np.testing.assert_allclose(
        plan.energies, energy(frames, goals, plan.actions), atol=1e-6
    )


def test_a_model_of_dynamics_is_planned_with():
    encoder = ViTEncoder(8, 4, 16, 1, 2)
    model = LatentDynamicsModel.from_encoder(encoder, 3, num_frames=5)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, 3, 8, 8, 3), "uint8")
    past = random.uniform(-1, 1, (3, 1, 3)).astype("float32")
    sizes = {"horizon": 2, "num_samples": 4, "num_iterations": 2, "batch_size": 2}
    planner = CrossEntropyPlanner(model, num_elites=2, **sizes)
    before = model.get_weights()
    plan = planner.plan(frames[:, :2], frames[:, 2], past)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again = planner.energies(frames[:, :2], frames[:, 2], plan.actions, past)
    np.testing.assert_allclose(plan.energies, again, atol=1e-5)
    # An untrained predictor leaves the last frame as it is.
    latents = ops.convert_to_numpy(model.encode(frames[:, 1:]))
    expected = np.abs(latents[:, 0] - latents[:, 1]).mean(axis=(1, 2))
    np.testing.assert_allclose(again, expected, atol=1e-5)
