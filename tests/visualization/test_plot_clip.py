import numpy as np
import pytest

from keras_iwm.visualization import plot_clip

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), "uint8")


def test_each_frame_is_drawn_once_in_its_place():
    figure = plot_clip(CLIPS, names=("one_clip", "another"))
    axes = np.reshape(figure.axes, (2, 3))
    for row, column in np.ndindex(2, 3):
        drawn = axes[row, column].images[0].get_array()
        np.testing.assert_allclose(drawn, CLIPS[row, column] / 255, atol=1e-6)
    titles = [axis.get_title() for axis in axes[0]]
    assert titles == ["frame 0", "frame 1", "frame 2"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["one clip", "another"]


def test_one_clip_may_come_without_an_axis_of_clips():
    figure = plot_clip(CLIPS[0, ..., :1] / 255.0, value_range=(0, 1))
    assert len(figure.axes) == 3
    drawn = figure.axes[1].images[0].get_array()
    np.testing.assert_allclose(drawn[..., 2], CLIPS[0, 1, ..., 0] / 255, atol=1e-6)


def test_what_is_no_clip_is_refused():
    with pytest.raises(ValueError, match="`frames` must have shape"):
        plot_clip(CLIPS[0, 0])
    with pytest.raises(ValueError, match="`names` must name the 2 clips"):
        plot_clip(CLIPS, names=("a",))
