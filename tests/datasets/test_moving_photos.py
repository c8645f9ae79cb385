"""Clips of still photos against shifts, turns and an interpolation of SciPy's."""

import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_iwm.datasets import MovingPhotos

RNG = np.random.default_rng(0)
PHOTOS = [RNG.integers(0, 256, (50, 70, 3), "uint8") for _ in range(5)]
SIZE = 16


def make(photos=PHOTOS, **arguments):
    return MovingPhotos(
        photos, **{"image_size": SIZE, "num_frames": 4, "batch_size": 4, **arguments}
    )


def plain_scenes(maker, count, camera=(25.5, 35.5, 0, 0)):
    scenes = maker.draw_scenes(count)
    return scenes._replace(camera=np.tile(np.array(camera, float), (count, 1)))


def steps(maker, motions):
    """Actions of one clip that lead through these motions, in the maker's units."""
    return (np.array(motions)[None] / maker.max_action).astype("float32")


def test_a_first_frame_is_a_crop_to_the_bit():
    maker = make(num_sprites=0)
    scenes = plain_scenes(maker, 5)
    frames = maker.render(scenes, maker.draw_actions(5))
    for frame, photo in zip(frames[:, 0], scenes.photo_ids, strict=True):
        np.testing.assert_array_equal(frame, PHOTOS[photo][18:34, 28:44])


@pytest.mark.parametrize("fraction", [0.0, 0.37])
def test_a_pan_by_whole_pixels_is_a_shift_to_the_bit(fraction):
    """Wherever the camera stands; the wall and a sprite that is still move along."""
    maker = make(max_speed=0.0, num_sprites=2)
    camera = (25.5 + fraction, 35.5 - fraction, 0, 0)
    scenes = plain_scenes(maker, 1, camera)
    scenes = scenes._replace(
        positions=np.zeros_like(scenes.positions) + scenes.camera[0, :2] + 2.3,
        walls=np.array([[1, 30.2, 3.0]]),
    )
    frames = maker.render(scenes, steps(maker, [[3, -2, 0, 0], [-1, 4, 0, 0]]))[0]
    np.testing.assert_array_equal(frames[1, :-3, 2:], frames[0, 3:, :-2])
    np.testing.assert_array_equal(frames[2, 1:, :-4], frames[1, :-1, 4:])
    assert (frames[1] != frames[0]).any()


def test_a_quarter_turn_is_exact_and_clockwise_in_the_picture():
    maker = make(max_turn=90.0, num_sprites=0)
    frames = maker.render(plain_scenes(maker, 1), steps(maker, [[0, 0, 0, 90]]))[0]
    np.testing.assert_array_equal(frames[1], np.rot90(frames[0], -1))


def test_any_motion_agrees_with_scipy_and_mirrors_beyond_borders():
    maker = make(num_sprites=0, max_pan=20.0, max_log_zoom=0.4, max_turn=40.0)
    scenes = maker.draw_scenes(4, seed=1)
    actions = maker.draw_actions(4, seed=1)
    frames = maker.render(scenes, actions)
    # The path anew, in complex numbers: imaginary is down.
    place = scenes.camera[:, 1] + 1j * scenes.camera[:, 0]
    size, angle = np.ones(4), np.zeros(4)
    offsets = np.arange(SIZE) - (SIZE - 1) / 2
    offsets = offsets + 1j * offsets[:, None]
    for step in range(4):
        for clip in range(4):
            seen = place[clip] + offsets * size[clip] * np.exp(-1j * angle[clip])
            photo = PHOTOS[scenes.photo_ids[clip]].astype(float)
            for channel in range(3):
                expected = ndimage.map_coordinates(
                    photo[..., channel], [seen.imag, seen.real], order=1, mode="mirror"
                )
                found = frames[clip, step, ..., channel]
                # Of noise, where 1/256 pixel is up to a grey level.
                assert abs(found - expected).max() < 2.5
                assert abs((found - expected).mean()) < 0.1
        if step < 3:
            down, right, zoom, turn = (actions[:, step] * maker.max_action).T
            place = place + size * np.exp(-1j * angle) * (right + 1j * down)
            size, angle = size * np.exp(-zoom), angle + np.deg2rad(turn)


def test_a_sprite_is_painted_where_its_track_is_in_its_shape():
    """Its area and its centre of mass, after pan, zoom and turn."""
    areas = {0: np.pi, 1: 4, 2: 2}
    maker = make(
        [
            np.full((64, 64, 3), 7, "uint8")
            + RNG.integers(0, 50, (64, 64, 3)).astype("uint8")
        ],
        image_size=32,
    )
    scenes = maker.draw_scenes(1)._replace(
        camera=np.array([[31.5, 31.5, 0, 0]]),
        walls=np.zeros((1, 3)),
        colors=np.full((1, 4, 1, 3), 255, "uint8"),
        sizes=np.array([[4.5]]),
        positions=np.tile([33.0, 36.0], (1, 4, 1, 1)),
    )
    motion = steps(maker, [[2, 0, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 6]])
    for shape, area in areas.items():
        scenes = scenes._replace(shapes=np.array([[shape]]))
        frames = maker.render(scenes, motion)[0].astype(float)
        hidden = maker.render(scenes._replace(visible=scenes.visible & False), motion)
        coverage = ((frames - hidden[0]) / (255 - hidden[0]))[..., 0]
        size = np.array([1, 1, np.exp(0.1), np.exp(0.1)])
        found = coverage.sum((1, 2))
        np.testing.assert_allclose(found, area * 4.5**2 * size**2, rtol=0.02)
        grid = np.arange(32) - 15.5
        row = (coverage.sum(2) * grid).sum(1) / found
        column = (coverage.sum(1) * grid).sum(1) / found
        # From the camera it stays (1.5 - 2, 4.5), enlarged, then turned clockwise.
        away = np.array([4.5 + 1.5j, *3 * [4.5 - 0.5j]]) * size
        away[3] *= np.exp(1j * np.deg2rad(6))
        np.testing.assert_allclose(column + 1j * row, away, atol=0.05)


def test_sprites_go_straight_until_they_bounce_off_the_wall():
    maker = make(num_frames=12, num_sprites=3, max_speed=4.0)
    scenes = maker.draw_scenes(200, seed=3)
    tracks, walls = scenes.positions, scenes.walls
    walled = walls[:, 2] > 0
    assert 0.4 < walled.mean() < 0.6
    bends = abs(np.diff(tracks, n=2, axis=1)).max(axis=(1, 3)) > 1e-9
    assert not bends[~walled].any()
    assert bends[walled, 0].all()
    speed = np.linalg.norm(tracks[:, 1] - tracks[:, 0], axis=-1)
    assert speed[~bends].max() <= 4.0 + 1e-9
    assert speed[~bends].min() >= 4 / 3 - 1e-9
    axis = walls[walled, 0].astype(int)
    along = tracks[walled][np.arange(len(axis)), ..., axis]
    away = abs(along - walls[walled, 1, None, None])
    room = walls[walled, 2, None] / 2 + scenes.sizes[walled]
    assert (away >= room[:, None] - 1e-9).all()


def test_clips_are_a_function_of_seed_epoch_and_batch():
    one, two = make(seed=5), make(seed=5)
    np.testing.assert_array_equal(one[3][0], two[3][0])
    two.epoch = 1
    assert (one[3][0] != two[3][0]).any()
    one.epoch = 1
    np.testing.assert_array_equal(one[3][1], two[3][1])
    assert (one[3][1] != one[2][1]).any()
    assert (make(seed=6)[3][0] != make(seed=5)[3][0]).any()
    # Processes share a batch out between them.
    whole = one[0]
    two.share = (1, 2)
    for part, all_of_it in zip(two[0], whole, strict=True):
        np.testing.assert_array_equal(part, all_of_it[len(all_of_it) // 2 :])


def test_batches_are_frames_and_actions_of_uniform_slots():
    maker = make(batch_size=32, clips_per_epoch=64, num_frames=5)
    assert len(maker) == 2
    frames, actions = maker[1]
    assert frames.shape == (32, 5, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    assert actions.shape == (32, 4, 4)
    assert actions.dtype == np.float32
    actions = maker.draw_actions(2000, 2, seed=1)
    np.testing.assert_allclose(actions.mean((0, 1)), 0, atol=0.04)
    np.testing.assert_allclose(actions.var((0, 1)), 1 / 3, atol=0.02)
    assert maker.action_dim == len(maker.slots) == len(maker.max_action)


def test_splits_share_no_photo():
    train, test = make(split="train"), make(split="test")
    assert list(train.photos) == [0, 1, 3, 4]
    assert list(test.photos) == [2]
    ids = train.draw_scenes(40).photo_ids
    np.testing.assert_array_equal(np.bincount(ids), 10)
    with pytest.raises(ValueError, match="split"):
        make(PHOTOS[:2], split="test")


def test_large_photos_are_shrunk_and_even_windows_left_out():
    ramp = np.broadcast_to(np.arange(200)[:, None, None], (200, 300, 1))
    photo = np.concatenate([ramp, ramp], axis=2).astype("uint8")
    photo[:, 150:] = 9
    maker = make([photo])
    (kept,) = maker.photos.values()
    assert kept.shape == (64, 96, 2)
    middles = (np.arange(64) + 0.5) * 200 / 64 - 0.5
    np.testing.assert_allclose(kept[4:-4, 0, 0], middles[4:-4], atol=1)
    columns = maker.draw_scenes(200).camera[:, 1] - (SIZE - 1) / 2
    assert columns.max() < 48
    with pytest.raises(ValueError, match="must show something"):
        make([np.zeros((64, 64, 3), "uint8")])


@pytest.mark.parametrize("num_channels", [1, 5])
def test_other_numbers_of_channels(num_channels):
    """Channels do not meet, also those of another word."""
    photo = RNG.integers(0, 256, (40, 40, num_channels), "uint8")
    maker, actions = make([photo], num_sprites=0), steps(make(), [[1.4, 0.3, 0.1, 3]])
    frames = maker.render(plain_scenes(maker, 1), actions)
    for channel in range(num_channels):
        one = make([photo[..., channel, None]], num_sprites=0)
        np.testing.assert_array_equal(
            frames[..., channel, None], one.render(plain_scenes(one, 1), actions)
        )


def test_render_refuses_what_does_not_fit():
    maker = make()
    scenes = maker.draw_scenes(2)
    for actions in (np.zeros((2, 4, 4)), np.zeros((1, 3, 4)), np.full((2, 1, 4), 1e9)):
        with pytest.raises(ValueError, match="`actions` must"):
            maker.render(scenes, actions)
    longer = maker.draw_scenes(2, num_frames=9)
    assert maker.render(longer, maker.draw_actions(2, 8)).shape[1] == 9
    with pytest.raises(ValueError, match="`scenes` must"):
        maker.render(None, maker.draw_actions(2))


def test_fit_sees_the_clips_of_its_epochs():
    maker, seen = make(clips_per_epoch=8), []

    class Model(keras.Model):
        def train_step(self, *arguments):
            seen.append(np.asarray(keras.ops.convert_to_numpy(arguments[-1][1])))
            return {"loss": 0.0}

    model = Model()
    model.built = True
    model.compile(run_eagerly=True)
    model.fit(maker, epochs=2, verbose=0)
    again = make(clips_per_epoch=8)
    for epoch in range(2):
        again.epoch = epoch
        for batch in range(2):
            found = seen[2 * epoch + batch]
            np.testing.assert_array_equal(found, again.load_batch(batch)[1])
