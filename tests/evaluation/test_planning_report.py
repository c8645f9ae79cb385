import json
from types import SimpleNamespace

import numpy as np
import pytest
from reference.point_world import PointWorld

from keras_iwm.datasets import MovingPhotos
from keras_iwm.evaluation import camera_distance, planning_report, report_table
from keras_iwm.planning import CrossEntropyPlanner, Plan, Planner, RandomPlanner


def test_distance_of_a_pan_is_its_length():
    camera = np.array([[100.0, 50.0, 0.3, 1.0], [0.0, 0.0, 0.0, 0.0]])
    moved = camera + [3.0, 4.0, 0.0, 0.0]
    # In pixels of the frame: at log zoom 0.3 a photo's pixel is larger.
    expected = 5 * np.exp([0.3, 0.0])
    np.testing.assert_allclose(camera_distance(camera, moved, 16), expected)
    np.testing.assert_array_equal(camera_distance(camera, camera, (4, 6)), [0, 0])


def test_distance_of_turn_and_zoom_is_the_mean_over_pixels():
    rows, columns = np.mgrid[-7.5:8, -3.5:4]
    radius = np.hypot(rows, columns)
    still = np.zeros(4)
    turned = camera_distance(np.array([0, 0, 0, 0.2]), still, (16, 8))
    np.testing.assert_allclose(turned, np.mean(2 * radius * np.sin(0.1)))
    zoomed = camera_distance(np.array([0, 0, 0.2, 0]), still, (16, 8))
    np.testing.assert_allclose(zoomed, np.mean(radius * (1 - np.exp(-0.2))))


def test_distance_is_that_of_the_makers_pixels():
    # What a frame shows under one camera stands two pixels further left in another.
    maker = MovingPhotos(photos(), 16, 3, 2, num_sprites=0)
    action = np.array([0, 2.0, 0, 0]) / maker.max_action
    scenes, actions = maker.draw_scenes(1), np.tile(action, (1, 1, 1))
    frames = maker.render(scenes, actions)[0]
    np.testing.assert_array_equal(frames[1][:, :-2], frames[0][:, 2:])
    path = maker.camera_path(scenes, actions)[0]
    np.testing.assert_allclose(camera_distance(path[1], path[0], 16), 2.0)


def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 40, 48, 3), "uint8")


class Told(Planner):
    """Has been told the actions, and errs by `off` in the first slot."""

    def __init__(self, actions, off, horizon):
        self.actions, self.off, self.horizon = actions, off, horizon
        self.model = SimpleNamespace(slots=MovingPhotos.slots)

    def plan(self, frames, goals, past_actions=None):
        assert frames.shape[1] == 1
        energies = np.abs(frames[:, 0].astype("float32") - goals).mean(axis=(1, 2, 3))
        actions = self.actions[:, : self.horizon] + np.eye(4)[0] * self.off
        self.actions = np.roll(self.actions, -1, axis=1)  # for the next call
        return Plan(actions, energies, actions[:, None])

    def energies(self, frames, goals, actions):
        np.testing.assert_array_equal(actions, self.actions_at_start)
        return np.zeros(len(goals))


@pytest.mark.parametrize(("horizon", "num_steps"), [(2, None), (1, 3)])
def test_error_is_how_far_the_plan_misses(horizon, num_steps):
    maker = MovingPhotos(
        photos(), 16, 3, 2, max_pan=2.0, max_log_zoom=0.0, max_turn=0.0
    )
    steps = num_steps or horizon
    actions = maker.draw_actions(5, steps, seed=4)
    planners = {}
    for name, off in (("right", 0.0), ("half a pixel", 0.25)):
        planners[name] = Told(actions, off, horizon)
        planners[name].actions_at_start = actions
    report = planning_report(planners, maker, 5, num_steps, seed=4)
    assert json.loads(json.dumps(report)) == report
    assert report["settings"]["replanned"] == (num_steps is not None)
    found = {k: row["pixel_error"]["value"] for k, row in report["planners"].items()}
    np.testing.assert_allclose(found["right"], 0.0, atol=1e-6)
    np.testing.assert_allclose(found["half a pixel"], 0.5 * steps, rtol=1e-5)
    moved = np.linalg.norm(2.0 * actions[..., :2].sum(axis=1), axis=-1).mean()
    nothing = report["controls"]["no_action"]["pixel_error"]["value"]
    np.testing.assert_allclose(nothing, moved, rtol=1e-5)
    assert report["controls"]["random_actions"]["pixel_error"]["value"] > 1
    assert ("true_energy" in report["planners"]["right"]) == (num_steps is None)
    lines = report_table(report).splitlines()
    assert f"the goal {steps} steps away" in lines[0]
    row = next(line for line in lines if line.startswith("  half a pixel"))
    assert row.split()[3] == f"{0.5 * steps:.3f}"


def test_bad_planners_are_refused():
    maker = MovingPhotos(photos(), 16, 3, 2)
    told = Told(np.zeros((2, 2, 4)), 0.0, 1)
    with pytest.raises(ValueError, match="`planners` must be a dictionary"):
        planning_report({}, maker)
    with pytest.raises(ValueError, match="must be a Planner"):
        planning_report({"one": 3}, maker)
    with pytest.raises(ValueError, match="must have one horizon"):
        planning_report({"one": told, "two": Told(told.actions, 0.0, 2)}, maker)
    with pytest.raises(ValueError, match="must have a model of the maker's slots"):
        planning_report({"one": RandomPlanner(PointWorld())}, maker)
    with pytest.raises(ValueError, match="`maker` must be a MovingPhotos"):
        planning_report({"one": CrossEntropyPlanner(PointWorld())}, 3)
