import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_tuned_parameters  # noqa: E402


def ticks(figure):
    """Returns {text: position} of the x axis."""
    axis = figure.axes[0]
    texts = [label.get_text() for label in axis.get_xticklabels()]
    return dict(zip(texts, axis.get_xticks(), strict=True))


def test_each_result_is_a_curve_in_order_of_its_numbers():
    figure = plot_tuned_parameters(
        {
            "predictor_finetuning": [(4e6, 0.75), (2e5, 0.5), (1e6, 0.625)],
            "linear probe": np.array([[1e5, 0.25]]),
        }
    )
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    curves = {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in axis.lines
    }
    assert curves == {
        "predictor finetuning": ([2e5, 1e6, 4e6], [50, 62.5, 75]),
        "linear probe": ([1e5], [25]),
    }
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["predictor finetuning", "linear probe"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("tuned parameters", "accuracy, %")
    np.testing.assert_allclose(axis.get_xlim(), (1e5 / 1.5, 6e6))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        # One point; within two powers of ten; within four; over many.
        ([73_000], {"50k": 5e4, "70k": 7e4, "100k": 1e5}),
        (
            [1e5, 4e6],
            {"100k": 1e5, "200k": 2e5, "500k": 5e5, "1M": 1e6, "2M": 2e6, "5M": 5e6},
        ),
        (
            [8e5, 9e8],
            {"1M": 1e6, "3M": 3e6, "10M": 1e7, "30M": 3e7, "100M": 1e8, "300M": 3e8,
             "1B": 1e9},
        ),
        (
            [500, 2e8],
            {"1k": 1e3, "10k": 1e4, "100k": 1e5, "1M": 1e6, "10M": 1e7, "100M": 1e8},
        ),
        ([1, 20], {"1": 1, "2": 2, "5": 5, "10": 10, "20": 20}),
    ],
)  # fmt: skip
def test_ticks_are_few_and_in_human_units(numbers, expected):
    drawn = ticks(plot_tuned_parameters({"a": [(number, 0.5) for number in numbers]}))
    assert list(drawn) == list(expected)
    np.testing.assert_allclose(list(drawn.values()), list(expected.values()))


def test_intervals_stand_around_their_points():
    figure = plot_tuned_parameters({"a": [(1e6, 0.5, 0.1), (2e6, 0.75)]})
    (intervals,) = figure.axes[0].collections
    np.testing.assert_allclose(
        [part[:, 1] for part in intervals.get_segments()], [[40, 60], [75, 75]]
    )


def test_names_stand_at_their_dots():
    points = [(2e6, 0.75, 0.1, "large"), (1e6, 0.5), (5e5, 0.25, "small")]
    axis = plot_tuned_parameters({"a": points}).axes[0]
    texts = {text.get_text(): tuple(text.xy) for text in axis.texts}
    assert texts == {"small": (5e5, 25), "": (1e6, 50), "large": (2e6, 75)}


def test_texts_cover_neither_dots_nor_each_other():
    results = {
        "linear": [(1e3, 0.40)],
        "attentive": [(6e4, 0.52)],
        "encoder": [(6.2e5, 0.61)],
        "predictor": [(4.1e5, 0.63)],
        "predictor, random": [(4.1e5, 0.60)],
        "end to end": [(1e6, 0.66)],
    }
    figure = plot_tuned_parameters(results)
    assert not figure.legends  # all names stand at their dots
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == list(results)
    boxes = [text.get_window_extent() for text in axis.texts]
    dots = axis.transData.transform([text.xy for text in axis.texts])
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert not any(box.contains(*dot) for dot in dots)
        inside = axis.get_window_extent()
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1


def test_few_curves_differ_in_colour_and_in_marker():
    results = {f"protocol {index}": [(1e6, 0.5)] for index in range(6)}
    lines = plot_tuned_parameters(results).axes[0].lines
    assert len({line.get_marker() for line in lines}) == 6


def test_many_curves_differ_in_colour_or_marker():
    results = {f"protocol {index}": [(1e6, 0.5)] for index in range(14)}
    lines = plot_tuned_parameters(results).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 14


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "`results` must be a dictionary"),
        ([(1, 0.5)], "`results` must be a dictionary"),
        ({"a": []}, r"`results\['a'\]` must be a list of at least one pair"),
        ({"a": [(1, 0.5, 2)]}, "half intervals from 0 to 1"),
        ({"a": [(1, 0.5, 0.1, 2)]}, "at least one pair"),
        ({"a": [(1,)]}, "at least one pair"),
        ({"a": [1, 2]}, "at least one pair"),
        ({"a": [(0, 0.5)]}, "Received: 0"),
        ({"a": [(10, 50.0)]}, "accuracies from 0 to 1"),
    ],
)
def test_bad_results_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        plot_tuned_parameters(results)
