import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_views  # noqa: E402


def make_views(target_ids, slots=2):
    rng = np.random.default_rng(0)
    return {
        "source": rng.uniform(0, 255, (3, 8, 8, 3)).astype("float32"),
        "target": rng.uniform(0, 255, (3, 8, 8, 3)).astype("float32"),
        "action": rng.uniform(-1, 1, (3, slots)).astype("float32"),
        "context_ids": np.array([[0, 5], [1, 2], [3, 4]]),
        "target_ids": np.asarray(target_ids),
    }


def patch(picture, index):
    """The pixels of one 2x2 patch of an 8x8 picture."""
    row, column = divmod(index, 4)
    return picture[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]


def test_context_is_shown_and_the_rest_is_grey():
    views = make_views([[10, 11], [12, 15], [8, 9]])
    figure = plot_views(views, (4, 4), num_images=2, action_slots=("hue", "blur"))
    axes = np.array(figure.axes).reshape(2, 4)
    for row in range(2):
        source = views["source"][row] / 255
        np.testing.assert_allclose(
            axes[row, 0].images[0].get_array(), source, atol=1e-6
        )
        context = axes[row, 1].images[0].get_array()
        for index in range(16):
            shown = index in views["context_ids"][row]
            expected = patch(source, index) if shown else np.full((2, 2, 3), 0.85)
            np.testing.assert_allclose(patch(context, index), expected, atol=1e-6)


def test_predicted_patches_keep_their_pixels_and_are_outlined():
    views = make_views([[10, 11], [12, 15], [8, 9]])
    axes = np.array(plot_views(views, (4, 4)).axes).reshape(3, 4)
    target, picture = views["target"][0] / 255, axes[0, 2].images[0].get_array()
    for index in range(16):
        pixels = patch(target, index)
        if index not in (10, 11):
            pixels = 1 - 0.25 * (1 - pixels)
        np.testing.assert_allclose(patch(picture, index), pixels, atol=1e-6)
    # Patches 10 and 11 make one rectangle: rows 4 to 6 and columns 4 to 8.
    (lines,) = axes[0, 2].collections
    drawn = {tuple(map(tuple, line)) for line in np.array(lines.get_segments()) + 0.5}
    assert drawn == {
        ((4, 4), (6, 4)), ((6, 4), (8, 4)), ((4, 6), (6, 6)), ((6, 6), (8, 6)),
        ((4, 4), (4, 6)), ((8, 4), (8, 6)),
    }  # fmt: skip


def test_the_action_is_drawn_slot_by_slot():
    views = make_views([[10, 11], [12, 15], [8, 9]])
    figure = plot_views(views, (4, 4), action_slots=("hue", "gaussian_blur"))
    axis = figure.axes[3]
    widths = [bar.get_width() for bar in axis.patches]
    np.testing.assert_allclose(widths, views["action"][0], atol=1e-6)
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["hue", "gaussian blur"]


def test_blocks_apart_and_no_action():
    blocks = [[[0, 1], [1, 2]], [[4, 5], [9, 10]], [[3, 7], [2, 6]]]
    figure = plot_views(make_views(blocks, slots=0), (4, 4))
    assert len(figure.axes) == 9
    assert all(len(figure.axes[column].collections) == 2 for column in (2, 5, 8))


def test_bad_arguments_are_refused():
    views = make_views([[10, 11], [12, 15], [8, 9]])
    with pytest.raises(ValueError, match="`grid_size` must divide"):
        plot_views(views, (3, 4))
    with pytest.raises(ValueError, match="`action_slots` must name the 2 slots"):
        plot_views(views, (4, 4), action_slots=("hue",))
