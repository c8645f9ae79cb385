import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from keras_iwm.visualization import plot_method_comparison  # noqa: E402


def dots(figure):
    return {dots.get_label(): dots for dots in figure.axes[0].collections}


def test_each_run_is_a_point_of_its_method():
    figure = plot_method_comparison(
        {
            "iwm": [(0.5, 0.3, 0.6), (0.6, 0.4, 0.5)],
            "untrained": [(0.7, 0.2, 0.8)],
            "autoregressive:order=spiral": [(-0.1, 0.6, 0.6)],
        }
    )
    found = dots(figure)
    places = {name: dots.get_offsets().tolist() for name, dots in found.items()}
    np.testing.assert_allclose(places["iwm"], [[0.5, 0.5], [0.6, 0.8]])
    np.testing.assert_allclose(places["untrained"], [[0.7, 0.25]])
    np.testing.assert_allclose(places["autoregressive:\norder=spiral"], [[-0.1, 1.0]])
    assert to_hex(found["untrained"].get_edgecolor()[0]) == "#262626"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(places)
    axis = figure.axes[0]
    assert axis.get_xlabel().startswith("equivariance")
    assert axis.get_ylabel().startswith("abstraction")


def test_many_methods_differ_in_colour_or_mark():
    runs = {f"method {index}": [(0.1, 0.5, 0.5)] for index in range(30)}
    looks = {
        (to_hex(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes())
        for dots in dots(plot_method_comparison(runs)).values()
    }
    assert len(looks) == 30


def test_the_control_may_have_another_name():
    runs = {"iwm": [(0.5, 0.3, 0.6)], "scratch": [(0.5, 0.3, 0.6)]}
    found = dots(plot_method_comparison(runs, control="scratch"))
    colors = [to_hex(dots.get_edgecolor()[0]) for dots in found.values()]
    assert colors == ["#2e6f95", "#262626"]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "`results` must be a dictionary"),
        ([(0.5, 0.3, 0.6)], "`results` must be a dictionary"),
        ({"a": []}, r"`results\['a'\]` must be a list of at least one run"),
        ({"a": [(0.5, 0.3)]}, "at least one run"),
        ({"a": [(0.5, 0.3, 0.0)]}, "finetuned ones above 0"),
        ({"a": [(0.5, 30.0, 60.0)]}, "accuracies from 0 to 1"),
        ({"a": [(1.5, 0.3, 0.6)]}, "equivariance of at most 1"),
        ({"a": [(float("nan"), 0.3, 0.6)]}, "equivariance of at most 1"),
    ],
)
def test_bad_results_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        plot_method_comparison(results)
