import json

import numpy as np
import pytest
from reference.point_world import PointWorld, walks

from keras_iwm.evaluation import (
    DynamicsEvaluator,
    dynamics_report,
    energy_landscape,
    report_table,
)
from keras_iwm.metrics import reciprocal_rank_chance


def evaluator(count=6, steps=4, blur=0.25, **arguments):
    frames, actions = walks(count, steps)
    return DynamicsEvaluator(PointWorld(blur=blur), frames, actions, **arguments)


def places(frames):
    return frames[:, :, 0, :, 0]


def test_errors_of_rollouts_are_those_of_their_definition():
    measured = evaluator(num_known=2, batch_size=4)
    found = measured.rollout_errors()
    start, future = np.split(places(measured.frames)[:, 1:], [1], axis=1)
    actions = measured.actions[:, 1:]
    for name, told in (
        ("model", actions),
        ("copy_last_frame", 0 * actions),
        ("zero_action", 0 * actions),
        ("shuffled_action", np.roll(actions, -1, axis=0)),
    ):
        expected = start + 0.75 * np.cumsum(told, axis=1)
        errors = np.abs(expected - future).mean(axis=-1)
        np.testing.assert_allclose(found[name], errors, atol=1e-5)


def test_ranks_are_those_of_their_definition():
    measured = evaluator(num_known=2, bank_size=9, batch_size=4)
    found = measured.rank_actions()
    start, wanted = places(measured.frames)[:, 1], places(measured.frames)[:, 2]
    bank = measured._bank(measured.actions.reshape(-1, 2), measured.taken)
    assert found["num_entries"] == 9 == bank.shape[1]
    for clip, actions in enumerate(bank):
        np.testing.assert_array_equal(actions[0], measured.actions[clip, 1])
        assert len(np.unique(actions, axis=0)) == 9
        energies = np.abs(start[clip] + 0.75 * actions - wanted[clip]).mean(axis=1)
        ranks = 1 + (energies < energies[:2, None] - 1e-6).sum(axis=1)
        assert found["ranks"][clip, 0] == ranks[0]
        assert found["ranks_shuffled"][clip, 0] == ranks[1]


def test_a_slot_is_ranked_with_the_others_as_they_were():
    # A model that does exactly what it is told ranks every value first.
    exact = evaluator(blur=0.0, bank_size=7)
    found = exact.rank_slot("right")
    np.testing.assert_array_equal(found["ranks"], np.ones((6, 1)))
    np.testing.assert_array_equal(found["errors"], np.zeros((6, 1)))
    assert 0.3 < found["error_chance"] < 0.9
    # One that moves by half is best told twice the value, or as much as there is.
    half = evaluator(blur=0.5, bank_size=24)
    values = np.unique(half.actions[..., 1])
    for clip, true in enumerate(half.taken[:, 1]):
        nearest = values[np.abs(0.5 * values - true).argmin()]
        error = half.rank_slot("right")["errors"][clip, 0]
        np.testing.assert_allclose(error, abs(nearest - true), atol=1e-6)


def test_a_model_that_ignores_a_slot_is_off_by_chance():
    found = evaluator(blur=1.0, bank_size=7).rank_slot("right")
    np.testing.assert_array_equal(found["ranks"], np.full((6, 1), 4.0))
    np.testing.assert_allclose(found["errors"].mean(), found["error_chance"], rtol=1e-6)
    assert found["errors"].min() > 0


def test_few_different_actions_make_a_small_bank():
    # Of a game with two buttons there are four actions, not sixty-four.
    frames, actions = walks(8, 3)
    actions = np.sign(actions)
    found = DynamicsEvaluator(PointWorld(), frames, actions).rank_actions()
    assert found["num_entries"] == 4


def test_landscape_is_lowest_where_the_model_is_right():
    measured = evaluator(blur=0.0)
    found = energy_landscape(measured, ("right", "down"), num_values=5)
    np.testing.assert_array_equal(found["values"], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(found["taken"], measured.taken[:, ::-1])
    off = np.abs(
        found["values"][:, None] - found["taken"][:, None]
    )  # clip, value, slot
    energies = (off[:, :, None, 0] + off[:, None, :, 1]) / 2
    np.testing.assert_allclose(found["energies"], energies, atol=1e-5)
    np.testing.assert_allclose(found["lowest"], np.round(2 * found["taken"]) / 2)


def test_report_and_its_table():
    frames, actions = walks(40, 3)
    motions = np.abs(actions).max(axis=-1)
    arguments = {"motions": motions, "num_known": 2, "bank_size": 16}
    report = dynamics_report(
        PointWorld(), frames, actions, control=PointWorld(blur=1.0), **arguments
    )
    assert json.loads(json.dumps(report)) == report
    assert report["settings"]["horizon"] == 2
    own, blind = report["model"], report["control"]
    np.testing.assert_allclose(own["relative_error"], [0, 0], atol=1e-6)
    np.testing.assert_allclose(blind["relative_error"], [1, 1], atol=1e-6)
    assert own["actions"]["true_action"]["mrr"]["value"] == 1.0
    chance = reciprocal_rank_chance(16)
    row = own["actions"]["shuffled_action"]["mrr"]
    assert row["chance"] == chance
    assert row["value"] < 2 * chance
    # All predictions tie where the action is not heard: the middle rank.
    assert blind["actions"]["true_action"]["mean_rank"]["value"] == 8.5
    counts = [row["num_clips"] for row in own["motions"].values()]
    assert list(own["motions"]) == [
        "0 to 0.25 patches",
        "0.25 to 0.5 patches",
        "0.5 to 1 patches",
    ]
    expected, _ = np.histogram(motions[:, 1], [0, 0.25, 0.5, 1])
    assert counts == expected.tolist()
    assert own["slots"]["down"]["parameter_error"]["value"] == 0.0
    assert report["untrained"].keys() == own.keys()

    lines = report_table(report).splitlines()
    assert max(map(len, lines)) <= 98
    shares = lines[lines.index("As a share of last frame's           1       2") + 1 :]
    assert [row.split() for row in shares[:3]] == [
        ["model", "0.000", "0.000"],
        ["control", "1.000", "1.000"],
        ["untrained", "0.000", "0.000"],  # a model of points has nothing to learn
    ]
    true = next(row for row in lines if row.startswith("  true action"))
    assert true.split()[2:] == (
        ["1.000", "1.000", "to", "1.000", "1.000", "1.000", "1.0", "0.118", "1.000"]
    )


def test_a_model_in_which_nothing_moves_has_no_relative_error():
    frames, actions = walks(3, 2)
    frames[:, 1:] = frames[:, :1]
    report = dynamics_report(PointWorld(), frames, actions, bank_size=2)
    assert report["model"]["relative_error"] == [None, None]
    assert "motions" not in report["model"]
    assert "-" in report_table(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "`model` must be a LatentDynamicsModel"),
        ({"frames": np.zeros((1, 3, 1, 2, 1))}, "`frames` must be at least 2 clips"),
        ({"frames": np.zeros((2, 1, 1, 2, 1))}, "at least one clip of 2 frames"),
        ({"actions": np.zeros((2, 3, 2))}, r"`actions` must have shape \(2, 2, 2\)"),
        ({"actions": np.full((2, 2, 2), 2.0)}, "`actions` must lie in"),
        ({"num_known": 3}, "`num_known` must be an integer from 1 to 2"),
        ({"bank_size": 1}, "`bank_size` must be an integer of at least 2"),
        ({"motions": np.zeros((2, 3))}, "`motions` must be finite numbers"),
        ({"motions": -np.ones((2, 2))}, "`motions` must be finite numbers"),
        ({"control": 3}, "`control` must be a LatentDynamicsModel"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    frames, actions = walks(2, 2)
    arguments = {"model": PointWorld(), "frames": frames, "actions": actions}
    with pytest.raises(ValueError, match=message):
        dynamics_report(**{**arguments, **change})


@pytest.mark.parametrize("slots", ["down", ("down",), ("down", "down"), ("down", "x")])
def test_a_landscape_has_two_slots(slots):
    with pytest.raises(ValueError, match="`slots` must be"):
        energy_landscape(evaluator(), slots)


def test_models_with_states_are_refused():
    frames, actions = walks(2, 2)
    model = PointWorld()
    model.state_dim = 3
    with pytest.raises(ValueError, match="without states"):
        DynamicsEvaluator(model, frames, actions)
