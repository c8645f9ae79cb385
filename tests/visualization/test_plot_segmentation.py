import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex, to_rgb  # noqa: E402

from keras_iwm.visualization import plot_segmentation  # noqa: E402


def legend_of(figure):
    """Returns {name: colour} of the legend."""
    (legend,) = figure.legends
    colors = [to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    names = [text.get_text() for text in legend.get_texts()]
    return dict(zip(names, colors, strict=True))


def make_arguments():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (2, 6, 8))
    masks[0, 0, 0] = 255
    return {
        "images": rng.uniform(0, 255, (2, 6, 8, 3)),
        "masks": masks,
        "predictions": rng.choice([0, 4], (2, 6, 8)),
        "class_names": ["sky", "traffic_light", "road", "car", "tree"],
        "ignore_label": 255,
    }


def test_colours_lie_on_the_grey_image_and_the_legend_names_them():
    arguments = make_arguments()
    figure = plot_segmentation(**arguments)
    legend = legend_of(figure)
    assert list(legend) == ["sky", "traffic light", "road", "tree", "ignored"]
    colors = {
        label: np.array(to_rgb(legend[name]))
        for label, name in {0: "sky", 1: "traffic light", 2: "road", 4: "tree"}.items()
    }
    axes = np.array(figure.axes).reshape(2, 3)
    assert [axis.get_title() for axis in axes[0]] == ["image", "truth", "prediction"]
    for row, image in enumerate(arguments["images"] / 255):
        np.testing.assert_allclose(axes[row, 0].images[0].get_array(), image, atol=1e-6)
        ignored = arguments["masks"][row] == 255
        for axis, labels in (
            (axes[row, 1], arguments["masks"][row]),
            (axes[row, 2], arguments["predictions"][row]),
        ):
            drawn = axis.images[0].get_array()
            for position in np.ndindex(6, 8):
                if ignored[position]:
                    expected = to_rgb(legend["ignored"])
                else:
                    grey = image[position] @ [0.299, 0.587, 0.114]
                    expected = 0.35 * grey + 0.65 * colors[labels[position]]
                np.testing.assert_allclose(drawn[position], expected, atol=1e-6)


def test_a_class_has_one_colour_in_every_figure():
    image = np.zeros((1, 2, 2, 3))
    few = legend_of(plot_segmentation(image, np.full((1, 2, 2), 7),
                                      np.full((1, 2, 2), 30)))  # fmt: skip
    many = np.arange(64).reshape(1, 8, 8)
    everything = legend_of(plot_segmentation(np.zeros((1, 8, 8, 3)), many, many))
    assert list(few) == ["class 7", "class 30"]
    assert everything["class 7"] == few["class 7"]
    assert everything["class 30"] == few["class 30"]
    assert len(set(everything.values())) == 64


def test_the_first_colours_can_be_told_apart():
    skimage_color = pytest.importorskip("skimage.color")
    labels = np.arange(20).reshape(1, 4, 5)
    legend = legend_of(plot_segmentation(np.zeros((1, 4, 5, 3)), labels, labels))
    # As they are on middle grey, in CIELAB, where 2 can just be seen; the last colour
    # is that of ignored pixels.
    drawn = [0.175 + 0.65 * np.array(to_rgb(color)) for color in legend.values()]
    lab = skimage_color.rgb2lab(np.array([*drawn, to_rgb("#d9d9d9")]))
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[np.triu_indices(12, 1)].min() > 20
    assert distances[np.triu_indices(20, 1)].min() > 15
    assert distances[-1, :-1].min() > 20


def test_nothing_but_ignored_pixels():
    everywhere = np.full((1, 4, 4), -1)
    figure = plot_segmentation(
        np.zeros((1, 4, 4, 3)), everywhere, everywhere * 0, ignore_label=-1
    )
    assert legend_of(figure) == {"ignored": "#d9d9d9"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((2, 3, 4), int)}, r"`masks` must have shape \(2, 6, 8\)"),
        ({"predictions": np.zeros((2, 6, 8, 5))}, "`predictions` must have shape"),
        ({"predictions": np.zeros((2, 6, 8))}, "pass classes, not scores"),
        ({"ignore_label": None}, "up to 255. Received: 5 names"),
        ({"predictions": np.full((2, 6, 8), -1)}, "0 or more.* Received: -1"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_segmentation(**(make_arguments() | change))
