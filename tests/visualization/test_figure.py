import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import (  # noqa: E402
    plot_attention,
    plot_patch_pca,
    plot_segmentation,
    plot_views,
)
from keras_iwm.visualization.figure import prepare_images  # noqa: E402


def test_three_channels_of_many_are_drawn_in_the_range_of_values():
    images = np.random.default_rng(0).integers(0, 65536, (2, 4, 6, 12)).astype("uint16")
    pictures = prepare_images(images, (0, 65535), rgb_channels=(7, 3, 3))
    np.testing.assert_allclose(pictures, images[..., [7, 3, 3]] / 65535, atol=1e-7)
    # Without a choice they are the first three; what is outside the range is clipped.
    floats = np.linspace(-2, 2, 2 * 2 * 4).reshape(1, 2, 2, 4)
    np.testing.assert_allclose(
        prepare_images(floats, (-1, 1)), np.clip((floats[..., :3] + 1) / 2, 0, 1),
        atol=1e-7,
    )  # fmt: skip


def test_one_channel_is_drawn_gray():
    images = np.random.default_rng(0).integers(0, 4096, (2, 4, 6, 1)).astype("uint16")
    pictures = prepare_images(images, (0, 4095))
    np.testing.assert_allclose(pictures, images.repeat(3, -1) / 4095, atol=1e-7)


@pytest.mark.parametrize(
    ("num_channels", "rgb_channels", "message"),
    [
        (2, (0, 1, 2), "from 0 to 1 for images of 2 channels"),
        (12, (0, 1, 12), r"Received: \(0, 1, 12\)"),
        (12, (0, -1, 2), "`rgb_channels` must be three channels"),
        (12, (0, 1), "`rgb_channels` must be three channels"),
        (12, 3, "`rgb_channels` must be three channels"),
    ],
)
def test_channels_that_images_do_not_have_are_refused(
    num_channels, rgb_channels, message
):
    images = np.zeros((1, 4, 4, num_channels))
    with pytest.raises(ValueError, match=message):
        prepare_images(images, (0, 255), rgb_channels=rgb_channels)


def test_many_images_stand_in_blocks_and_not_in_a_strip():
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(0, 255, (5, 8, 8, 3)), np.zeros((5, 8, 8), "int32")
    views = {
        "source": images,
        "target": images,
        "action": np.zeros((5, 1)),
        "context_ids": [[0]] * 5,
        "target_ids": [[2]] * 5,
    }
    for figure in (
        plot_attention(images, np.ones((5, 16)), (4, 4)),
        plot_segmentation(images, masks, masks),
        plot_views(views, (4, 4)),
    ):
        assert figure.get_figheight() < figure.get_figwidth()
        drawn = [axis.images[0].get_array() for axis in figure.axes if axis.images]
        for image in images:  # each is there, and once as it is
            same = [
                d.shape == image.shape and np.allclose(d, image / 255) for d in drawn
            ]
            assert sum(same) >= 1


def test_images_need_four_axes():
    with pytest.raises(ValueError, match="`target` must have shape"):
        prepare_images(np.zeros((4, 4, 3)), (0, 255), "target")


@pytest.mark.parametrize(("num_channels", "shown"), [(1, [0, 0, 0]), (12, [11, 4, 0])])
def test_every_picture_of_arrays_shows_the_channels(num_channels, shown):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (2, 8, 8, num_channels))
    masks = np.zeros((2, 8, 8), "int32")
    arguments = {"value_range": (0, 1), "rgb_channels": (11, 4, 0)}
    views = {
        "source": images,
        "target": images,
        "action": np.zeros((2, 0)),
        "context_ids": [[0], [1]],
        "target_ids": [[2], [3]],
    }
    for figure in (
        plot_attention(images, np.ones((2, 16)), (4, 4), **arguments),
        plot_patch_pca(images, rng.normal(size=(2, 16, 4)), (4, 4), **arguments),
        plot_segmentation(images, masks, masks, **arguments),
        plot_views(views, (4, 4), **arguments),
    ):
        picture = figure.axes[0].images[0].get_array()
        np.testing.assert_allclose(picture, images[0][..., shown], atol=1e-6)
