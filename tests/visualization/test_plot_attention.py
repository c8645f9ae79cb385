import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_attention  # noqa: E402


def make_images(num_images=2):
    return np.random.default_rng(0).uniform(0, 255, (num_images, 8, 12, 3))


def expected_picture(image, weights, highest):
    """The definition, patch by patch of 4x4 pixels on a grid of (2, 3)."""
    picture = np.empty(image.shape)
    for patch, weight in enumerate(weights):
        heat = weight / weights.mean() / highest
        color = np.array(matplotlib.colormaps["YlOrRd"](heat)[:3])
        row, column = divmod(patch, 3)
        pixels = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        red, green, blue = np.moveaxis(image[pixels] / 255, -1, 0)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        faded = 1 - 0.45 * (1 - grey)
        amount = 0.85 * heat**0.5
        picture[pixels] = (1 - amount) * faded[..., None] + amount * color
    return picture


def test_heat_of_the_mean_over_heads_lies_on_the_grey_image():
    images = make_images()
    attention = np.random.default_rng(1).dirichlet(np.ones(6), size=(2, 4))
    figure = plot_attention(images, attention, (2, 3))
    *maps, scale = figure.axes
    titles = [axis.get_title() for axis in maps]
    assert titles == ["image", "mean over heads", "", ""]
    highest = attention.mean(axis=1).max() * 6
    for image, weights, (plain, heat) in zip(
        images, attention.mean(axis=1), (maps[:2], maps[2:]), strict=True
    ):
        np.testing.assert_allclose(plain.images[0].get_array(), image / 255, atol=1e-6)
        np.testing.assert_allclose(
            heat.images[0].get_array(),
            expected_picture(image, weights, highest),
            atol=1e-6,
        )
        assert heat.get_xlabel() == f"peak {weights.max() * 6:.1f} × even"
    labels = [label.get_text() for label in scale.get_yticklabels()]
    assert labels == ["0", "even", f"{highest:.1f} ×"]


def test_each_head_follows_the_mean():
    images = make_images()
    attention = np.random.default_rng(1).dirichlet(np.ones(6), size=(2, 3))
    figure = plot_attention(images, attention, (2, 3), each_head=True)
    first, second, _ = figure.axes[:5], figure.axes[5:10], figure.axes[10]
    assert [axis.get_title() for axis in first] == [
        "image", "mean over heads", "head 1", "head 2", "head 3",
    ]  # fmt: skip
    highest = attention.max() * 6
    for image, weights, axes in zip(images, attention, (first, second), strict=True):
        for head, axis in zip(weights, axes[2:], strict=True):
            np.testing.assert_allclose(
                axis.images[0].get_array(),
                expected_picture(image, head, highest),
                atol=1e-6,
            )


def test_one_map_without_heads_and_a_head_that_looks_nowhere():
    images = make_images(1)
    attention = np.array([[0, 0, 1.0, 0, 0, 0]])
    figure = plot_attention(images, attention, (2, 3))
    assert figure.axes[1].get_title() == "attention"
    assert figure.axes[1].get_xlabel() == "peak 6.0 × even"
    nowhere = plot_attention(images, np.zeros((1, 6)), (2, 3)).axes[1]
    assert nowhere.get_xlabel() == "peak 0.0 × even"
    grey = images[0] @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(
        nowhere.images[0].get_array()[..., 0], 1 - 0.45 * (1 - grey), atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": np.ones((2, 3, 5))}, r"shape \(2, num_heads, 6\) or \(2, 6\)"),
        ({"attention": np.ones((1, 6))}, "`attention` must have shape"),
        ({"attention": np.ones((2, 3, 1, 6))}, "`attention` must have shape"),
        ({"attention": -np.ones((2, 6))}, "smallest -1"),
        ({"attention": np.full((2, 6), np.nan)}, "0 or more"),
        ({"attention": np.ones((2, 6)), "each_head": True}, "`each_head=True` needs"),
        ({"grid_size": (3, 3)}, "`grid_size` must divide"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "images": make_images(),
        "attention": np.ones((2, 4, 6)),
        "grid_size": (2, 3),
    }
    with pytest.raises(ValueError, match=message):
        plot_attention(**(arguments | change))
