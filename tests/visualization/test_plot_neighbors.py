import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_neighbors  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3)).astype("uint8")


def test_the_query_and_all_neighbours_are_drawn_in_their_order():
    captions = [f"{number}.png" for number in range(7)]
    figure = plot_neighbors(IMAGES[0], IMAGES[1:], captions)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 8
    for axis, image in zip(shown, IMAGES[[0, 1, 2, 3, 4, 5, 6, 7]], strict=True):
        np.testing.assert_allclose(axis.images[0].get_array(), image / 255, atol=1e-6)
    assert [axis.get_xlabel() for axis in shown[1:]] == captions


def test_long_names_keep_their_ends():
    name = "a" * 60 + "/the_end.png"
    axis = plot_neighbors(IMAGES[0], IMAGES[1:2], [name]).axes[1]
    assert axis.get_xlabel().replace("\n", "").endswith("/the_end.png")
    assert len(axis.get_xlabel()) < 50


def test_captions_must_be_as_many():
    with pytest.raises(ValueError, match="`captions` must be one for each of the 7"):
        plot_neighbors(IMAGES[0], IMAGES[1:], ["a"])
