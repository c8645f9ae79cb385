import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.visualization import plot_retrieval  # noqa: E402


def make_arguments():
    images = np.random.default_rng(0).uniform(-1, 1, (3, 2, 8, 8, 3))
    return {
        "clean": images[0],
        "target": images[1],
        "retrieved": images[2],
        "requested": np.array([[1.2, 0.75, 1.001, -0.05], [1.0, 1.0, 1.0, 0.0]]),
        "ranks": np.array([1.0, 128.5]),
        "value_range": (-1, 1),
    }


def test_pictures_words_and_ranks_stand_in_their_columns():
    arguments = make_arguments()
    figure = plot_retrieval(**arguments, bank_size=256)
    axes = np.array(figure.axes).reshape(2, 4)
    for column, name in ((0, "clean"), (2, "retrieved"), (3, "target")):
        for row in range(2):
            np.testing.assert_allclose(
                axes[row, column].images[0].get_array(),
                (arguments[name][row] + 1) / 2,
                atol=1e-6,
            )
    words = [axes[row, 1].texts[0].get_text() for row in range(2)]
    assert words == ["brightness +20 %\ncontrast -25 %\nhue -18°", "no change"]
    texts = [axes[row, 3].get_xlabel() for row in range(2)]
    assert texts == ["rank 1 of 256", "rank 128.5 of 256"]
    # Green where the wanted target was found, red where not.
    frames = [to_hex(axes[row, 2].spines["left"].get_edgecolor()) for row in range(2)]
    assert frames == ["#3f8f5f", "#d1495b"]


def test_requests_may_be_dictionaries():
    arguments = make_arguments() | {"requested": [{"hue": 0.1}, {"contrast": 1.3}]}
    figure = plot_retrieval(**arguments)
    words = [figure.axes[index].texts[0].get_text() for index in (1, 5)]
    assert words == ["hue +36°", "contrast +30 %"]
    assert figure.axes[3].get_xlabel() == "rank 1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranks": [1]}, r"same length. Received: \[2, 2, 2, 2, 1\]"),
        ({"requested": [{"blur": 1.0}, {}]}, "Received: blur"),
        ({"requested": np.ones((2, 3))}, "four parameters"),
        ({"clean": np.zeros((8, 8, 3))}, "`clean` must have shape"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plot_retrieval(**(make_arguments() | change))
