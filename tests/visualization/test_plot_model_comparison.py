import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.visualization import plot_model_comparison  # noqa: E402


def make_arguments():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 2, 6, 8, 3))
    return {
        "clean": images[0],
        "target": images[1],
        "retrieved": {"invariant_model": images[2], "equivariant": images[3]},
        "requested": [{"hue": 0.1}, {"contrast": 0.75, "brightness": 1.0}],
        "ranks": {"equivariant": [1, 2.5], "invariant_model": np.array([90, 1])},
        "value_range": (-1, 1),
    }


def test_models_stand_in_columns_between_request_and_target():
    arguments = make_arguments()
    axes = np.array(plot_model_comparison(**arguments, bank_size=256).axes)
    axes = axes.reshape(2, 5)
    assert [axis.get_title() for axis in axes[0]] == [
        "image", "requested change", "invariant model", "equivariant", "target",
    ]  # fmt: skip
    columns = {
        0: arguments["clean"],
        2: arguments["retrieved"]["invariant_model"],
        3: arguments["retrieved"]["equivariant"],
        4: arguments["target"],
    }
    for column, images in columns.items():
        for row in range(2):
            np.testing.assert_allclose(
                axes[row, column].images[0].get_array(),
                (images[row] + 1) / 2,
                atol=1e-6,
            )
    words = [axes[row, 1].texts[0].get_text() for row in range(2)]
    assert words == ["hue +36°", "contrast -25 %"]
    labels = [[axis.get_xlabel() for axis in row[2:4]] for row in axes]
    assert labels == [["rank 90 of 256", "rank 1 of 256"],
                      ["rank 1 of 256", "rank 2.5 of 256"]]  # fmt: skip
    frames = [[to_hex(axis.spines["left"].get_edgecolor()) for axis in row[2:4]]
              for row in axes]  # fmt: skip
    assert frames == [["#d1495b", "#3f8f5f"], ["#3f8f5f", "#d1495b"]]


def test_one_image_and_three_models_with_long_names():
    image = np.zeros((1, 4, 4, 3))
    names = ["a", "b", "ViT-B/16, feature conditioning, 300 epochs"]
    figure = plot_model_comparison(
        image, image, dict.fromkeys(names, image), np.array([[1.2, 1, 1, 0]]),
        dict.fromkeys(names, [3]),
    )  # fmt: skip
    assert len(figure.axes) == 6
    assert figure.axes[4].get_title() == "ViT-B/16, feature\nconditioning, 300\nepochs"
    # The longest title is within the figure, and so are the captions.
    FigureCanvasAgg(figure).draw()
    box = figure.get_tightbbox()
    assert box.y0 >= 0
    assert box.y1 <= figure.get_size_inches()[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros((1, 6, 8, 3))}, "`target` must have the shape of `clean`"),
        ({"requested": [{}]}, "`requested` must have one change for each of the 2"),
        ({"requested": [{"blur": 1}, {}]}, "Received: blur"),
        ({"retrieved": np.zeros((2, 6, 8, 3))}, "`retrieved` must be a dictionary"),
        ({"retrieved": {}}, "Received: dict of length 0"),
        ({"retrieved": {"a": np.zeros((1, 6, 8, 3))}}, r"`retrieved\['a'\]` must have"),
        ({"ranks": {"equivariant": [1, 2]}}, "Received no 'invariant_model'"),
        (
            {"ranks": {"invariant_model": [1], "equivariant": [1, 2]}},
            r"`ranks\['invariant_model'\]` must have one rank for each",
        ),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_model_comparison(**(make_arguments() | change))
