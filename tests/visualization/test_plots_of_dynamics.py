import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from reference.point_world import PointWorld, walks  # noqa: E402

from keras_iwm.evaluation import (  # noqa: E402
    DynamicsEvaluator,
    dynamics_report,
    energy_landscape,
)
from keras_iwm.visualization import (  # noqa: E402
    plot_energy_landscape,
    plot_plan,
    plot_rollout,
)


def landscape(count=3):
    frames, actions = walks(count, 2)
    evaluator = DynamicsEvaluator(PointWorld(blur=0.2), frames, actions)
    return energy_landscape(evaluator, num_values=5)


def test_landscapes_have_the_true_action_marked():
    found = landscape()
    history = np.linspace(0, found["taken"], 4, axis=1)  # clips, points, slots
    figure = plot_energy_landscape(found, {"search": history}, num_clips=2)
    assert len(figure.axes) == 2
    for clip, axis in enumerate(figure.axes):
        np.testing.assert_allclose(axis.images[0].get_array(), found["energies"][clip])
        # A value of a slot is the middle of its cell; the first slot goes up.
        np.testing.assert_allclose(axis.images[0].get_extent(), [-1.25, 1.25] * 2)
        lowest, taken = (mark.get_offsets()[0][::-1] for mark in axis.collections)
        np.testing.assert_allclose(lowest, found["lowest"][clip])
        np.testing.assert_allclose(taken, found["taken"][clip], atol=1e-6)
        np.testing.assert_allclose(axis.lines[0].get_xydata()[:, ::-1], history[clip])
    assert figure.axes[0].get_ylabel() == "down"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["search", "lowest energy", "taken"]


def test_rollout_has_all_controls():
    frames, actions = walks(5, 3)
    report = dynamics_report(
        PointWorld(blur=0.5), frames, actions, control=PointWorld(blur=1.0)
    )
    absolute, relative = plot_rollout(report).axes
    names = ["model", "copy last frame", "zero action", "shuffled action"]
    assert [line.get_label() for line in absolute.lines] == names
    for line, errors in zip(
        absolute.lines, report["model"]["rollout"].values(), strict=True
    ):
        expected = [error["value"] for error in errors]
        np.testing.assert_allclose(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    shares = {line.get_label(): line.get_ydata() for line in relative.lines[:3]}
    np.testing.assert_allclose(shares["model"], 0.5, rtol=1e-5)
    np.testing.assert_allclose(shares["control"], 1.0, rtol=1e-5)
    assert to_hex(absolute.lines[0].get_color()) == to_hex(
        relative.lines[0].get_color()
    )
    # What has no share, where nothing moves, is left out.
    frames[:, 1:] = frames[:, :1]
    still = dynamics_report(PointWorld(), frames, actions)
    assert len(plot_rollout(still).axes[1].lines) == 1


def test_plan_shows_what_it_leads_to():
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), "uint8")
    paths = {"taken": [[4, 6], [5, 7]], "found": [[4, 6], [2, 1], [0, 0]]}
    figure = plot_plan(frames, frames[1], paths)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["start", "after 1", "after 2", "goal", "difference"]
    drawn = [axis.images[0].get_array() for axis in figure.axes]
    pictures = frames / 255
    np.testing.assert_allclose(drawn[:3], pictures, atol=1e-6)
    np.testing.assert_allclose(drawn[3], pictures[1], atol=1e-6)
    expected = (pictures[2] - pictures[1] + 1) / 2
    np.testing.assert_allclose(drawn[4], expected, atol=1e-6)
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["taken", "found"]
    for line, points in zip(lines, paths.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata()[:, ::-1], points)
    assert not plot_plan(frames, frames[1]).legends


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landscape": {}}, "`landscape` must be a dictionary from energy_landscape"),
        ({"paths": [1]}, "`paths` must be a dictionary"),
        ({"paths": {"a": np.zeros((3, 2))}}, r"must have shape \(3, points, 2\)"),
        ({"paths": {"a": np.full((3, 1, 2), np.nan)}}, "must be finite"),
        ({"num_clips": 0}, "`num_clips` must be an integer"),
    ],
)
def test_bad_landscapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_energy_landscape(**{"landscape": landscape(), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((8, 8, 3))}, "`frames` must have shape"),
        ({"goal": np.zeros((8, 9, 3))}, "`goal` must have the shape of a frame"),
        ({"paths": {"a": [1, 2]}}, r"`paths\['a'\]` must be finite numbers of shape"),
        ({"paths": dict.fromkeys("abcdefg", [[1, 2]])}, "at most 6"),
    ],
)
def test_bad_plans_are_refused(change, message):
    arguments = {"frames": np.zeros((2, 8, 8, 3)), "goal": np.zeros((8, 8, 3))}
    with pytest.raises(ValueError, match=message):
        plot_plan(**{**arguments, **change})


def test_other_reports_are_refused():
    with pytest.raises(ValueError, match="`report` must be a dictionary from dynamics"):
        plot_rollout({"settings": {}, "retrieval": {}})
