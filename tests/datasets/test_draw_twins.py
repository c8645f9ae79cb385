"""Twins that differ in what they should, and only there."""

import numpy as np
import pytest

from keras_iwm.datasets import MovingPhotos, draw_twins

PHOTOS = [np.random.default_rng(0).integers(0, 256, (90, 120, 3), "uint8")]
MAKER = MovingPhotos(PHOTOS, image_size=32, num_frames=8, num_sprites=2)


def rendered(event, count=24):
    twins = draw_twins(MAKER, event, count, seed=3)
    frames = [MAKER.render(t, twins.actions) for t in twins[:2]]
    return twins, *(clips.astype(float) for clips in frames)


@pytest.mark.parametrize("event", ["vanishes", "jumps", "changes_color", "passes_wall"])
def test_twins_are_equal_until_the_event(event):
    twins, possible, impossible = rendered(event)
    assert len(possible) == len(twins.event_frames) == 24
    differ = (possible != impossible).any(axis=(2, 3, 4))
    np.testing.assert_array_equal(differ.argmax(axis=1), twins.event_frames)
    assert set(twins.event_frames) == {4, 5, 6}
    for clip, frame in enumerate(twins.event_frames):
        assert differ[clip, frame:].all()
    again = draw_twins(MAKER, event, 24, seed=3)
    np.testing.assert_array_equal(again.impossible.positions, twins[1].positions)
    # The others keep to their tracks, and the camera is still.
    for name in ("positions", "colors", "visible"):
        one, two = (getattr(scenes, name)[:, :, 1] for scenes in twins[:2])
        np.testing.assert_array_equal(one, two)
    assert not twins.actions.any()


@pytest.mark.parametrize("event", ["vanishes", "jumps", "changes_color", "passes_wall"])
def test_the_sprite_is_in_sight_all_the_time(event):
    twins = draw_twins(MAKER, event, 24)
    for scenes in twins[:2]:
        away = abs(scenes.positions[:, :, 0] - scenes.camera[:, None, :2])
        assert (away + scenes.sizes[:, :1, None] <= 16 + 1e-9).all()
        assert ((scenes.walls[:, 2] > 0) == (event == "passes_wall")).all()


def test_what_happens():
    frames = np.arange(8)
    twins = draw_twins(MAKER, "vanishes", 40)
    after = frames >= twins.event_frames[:, None]
    there = twins.possible.visible[:, :, 0]
    assert (there == there[:, :1]).all()
    assert 0.3 < there[:, 0].mean() < 0.7
    np.testing.assert_array_equal(twins.impossible.visible[:, :, 0], there ^ after)

    twins = draw_twins(MAKER, "jumps", 40)
    after = frames >= twins.event_frames[:, None]
    moved = (twins.impossible.positions - twins.possible.positions)[:, :, 0]
    length = np.linalg.norm(moved, axis=-1)
    assert not length[~after].any()
    assert length[after].min() >= 8
    assert length[after].max() <= 16

    twins = draw_twins(MAKER, "changes_color", 40)
    after = frames >= twins.event_frames[:, None]
    one, two = (scenes.colors[:, :, 0].astype(int) for scenes in twins[:2])
    assert (one + two == 255)[after].all()
    assert (one == two)[~after].all()


def test_what_passes_a_wall_goes_straight_on_and_its_twin_bounces():
    twins, possible, impossible = rendered("passes_wall", 40)
    bend = np.diff(twins.impossible.positions[:, :, 0], n=2, axis=1)
    np.testing.assert_allclose(bend, 0, atol=1e-9)
    scene, axis = np.arange(40), twins.possible.walls[:, 0].astype(int)
    middle = twins.possible.walls[:, 1]
    side = [
        np.sign(s.positions[scene, :, 0, axis] - middle[:, None]) for s in twins[:2]
    ]
    assert (side[0] == side[0][:, :1]).all()
    crossed = twins.impossible.positions[scene, -1, 0, axis] - middle
    bounced = twins.possible.positions[scene, -1, 0, axis] - middle
    assert (abs(crossed) < abs(bounced)).all()
    # Neither of them changes more pixels than the other.
    change = [
        abs(np.diff(f, axis=1)).mean(axis=(1, 2, 3, 4)) for f in (possible, impossible)
    ]
    assert 0.2 < (change[1] > change[0]).mean() < 0.8


def test_no_frame_alone_tells_which_twin_is_possible():
    """Bright pixels of both kinds are alike, over the pairs of an event."""
    for event in ("vanishes", "jumps", "changes_color"):
        _, possible, impossible = rendered(event, 60)
        last = possible[:, -1].mean((1, 2, 3)), impossible[:, -1].mean((1, 2, 3))
        assert 0.3 < (last[1] > last[0]).mean() < 0.7


def test_makers_that_cannot_are_refused():
    for arguments in ({"num_sprites": 0}, {"num_frames": 3}):
        arguments = {"num_frames": 8, **arguments}
        with pytest.raises(ValueError, match="`maker` must have"):
            draw_twins(MovingPhotos(PHOTOS, 32, **arguments), "jumps", 2)
    with pytest.raises(ValueError, match="`maker` must be a MovingPhotos"):
        draw_twins(PHOTOS, "jumps", 2)
    with pytest.raises(ValueError, match="almost|to which that can"):
        draw_twins(MovingPhotos(PHOTOS, 32, max_speed=0.0), "passes_wall", 2)
