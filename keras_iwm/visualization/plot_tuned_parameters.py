"""What accuracy costs: curves over the number of tuned parameters."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_iwm.type_aliases import Figure
from keras_iwm.visualization.figure import (
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
    wrapped,
)

_MARKERS = "osD^vP"
# Where a text may stand: points to the right of its dot and above, and what is there.
_PLACES = (
    (-6, 3, "right", "bottom"),
    (6, 3, "left", "bottom"),
    (-6, -3, "right", "top"),
    (6, -3, "left", "top"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
    (-9, 15, "right", "bottom"),
    (9, -15, "left", "top"),
    (9, 15, "left", "bottom"),
    (-9, -15, "right", "top"),
)
_UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def plot_tuned_parameters(results: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Draws accuracy against the number of tuned parameters, on a log axis.

    One curve for each protocol, model or both: it shows what finetuning the predictor
    reaches with how many parameters, beside finetuning the encoder or a probe.

    Args:
        results: Dictionary from a curve's name to its points, a list of
            `(number_of_tuned_parameters, accuracy)`: the number at least 1, the
            accuracy from 0 to 1. A third number is half the length of the interval
            around the accuracy, and a string at the end is written beside the dot,
            such as `"ViT-B"`; a curve of one point has its own name there. The points
            are drawn in order of their numbers.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve, or a point is not such a pair.

    Example:

    ```python
    from keras_iwm.visualization import plot_tuned_parameters

    figure = plot_tuned_parameters(
        {
            "predictor finetuning": [(1.2e6, 0.71), (5.3e6, 0.78), (22e6, 0.81)],
            "encoder finetuning": [(22e6, 0.77, "ViT-S"), (86e6, 0.82, "ViT-B")],
            "linear probe": [(77_000, 0.62, 0.01)],
        }
    )
    figure.savefig("tuned_parameters.png")
    ```
    """
    if not isinstance(results, dict) or not results:
        raise ValueError(
            "`results` must be a dictionary from a curve's name to its points, with at "
            f"least one curve. Received: {results!r}"
        )
    curves = {name: _as_points(name, points) for name, points in results.items()}
    for name, (texts, *_) in curves.items():
        if len(texts) == 1:
            texts[0] = texts[0] or wrapped(name, 26)

    names = [wrapped(name, 26) for name in curves]
    legend_height = sum(0.25 + 0.15 * name.count("\n") for name in names)
    figure = new_figure(7.2, max(3.6, 0.1 + legend_height))
    axis = figure.subplots()
    for index, (texts, numbers, accuracies, intervals) in enumerate(curves.values()):
        turn, color = divmod(index, len(PALETTE))
        style = {"color": PALETTE[color], "marker": _MARKERS[(index + turn) % 6]}
        axis.plot(
            numbers, 100 * accuracies, label=names[index], markersize=5.5,
            linewidth=1.8, **style,
        )  # fmt: skip
        axis.vlines(
            numbers, 100 * (accuracies - intervals), 100 * (accuracies + intervals),
            color=PALETTE[color], linewidth=1.2, alpha=0.7,
        )  # fmt: skip
        for text, *dot in zip(texts, numbers, 100 * accuracies, strict=True):
            axis.annotate(
                text, dot, xytext=(0, 0), textcoords="offset points",
                color=PALETTE[color], fontsize=TEXT_SIZE, in_layout=False,
            )  # fmt: skip
    axis.set_xlabel("tuned parameters", fontsize=TITLE_SIZE)
    axis.set_ylabel("accuracy, %", fontsize=TITLE_SIZE)
    numbers = np.concatenate([numbers for _, numbers, *_ in curves.values()])
    _scale_logarithmically(axis, numbers.min() / 1.5, numbers.max() * 1.5)
    axis.margins(y=0.08)
    axis.tick_params(labelsize=TEXT_SIZE)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    if any(len(numbers) > 1 for _, numbers, *_ in curves.values()):
        figure.legend(
            loc="outside right upper", fontsize=TEXT_SIZE, frameon=False,
            labelspacing=0.8,
        )  # fmt: skip
    _place_texts(figure, axis)
    return figure


def _place_texts(figure, axis):
    """Moves each text beside its dot, where it covers no dot and no other text."""
    figure.draw_without_rendering()  # only now it is known how large they are
    dots = axis.transData.transform([text.xy for text in axis.texts])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    inside = axis.get_window_extent().extents
    for text in axis.texts:
        if not text.get_text():
            continue
        for place in (*_PLACES, _PLACES[0]):  # the first one again if none is free
            text.set(position=place[:2], ha=place[2], va=place[3])
            low_x, low_y, high_x, high_y = text.get_window_extent().extents
            is_free = low_x >= inside[0] and high_x <= inside[2]
            is_free &= low_y >= inside[1] and high_y <= inside[3]
            if is_free and not any(
                low_x < x1 and high_x > x0 and low_y < y1 and high_y > y0
                for x0, y0, x1, y1 in taken
            ):
                break
        taken.append((low_x, low_y, high_x, high_y))


def _as_points(name, points):
    """Returns texts, numbers of parameters in rising order, accuracies, intervals."""
    texts = []
    try:
        for index, point in enumerate(points := list(points)):
            named = isinstance(point, (tuple, list)) and isinstance(point[-1], str)
            texts.append(point[-1] if named else "")
            points[index] = point[:-1] if named else point
        # Without an interval it is 0; other lengths do not fit together.
        points = [(*point, 0.0)[: max(3, len(point))] for point in points]
        points = np.array(points, dtype="float64")
    except (TypeError, ValueError, IndexError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(
            f"`results[{name!r}]` must be a list of at least one pair "
            "(number_of_tuned_parameters, accuracy)."
        )
    order = points[:, 0].argsort(kind="stable")
    texts = [texts[index] for index in order]
    numbers, accuracies, intervals = points[order].T
    if not numbers[0] >= 1:
        raise ValueError(
            f"`results[{name!r}]` must have at least one tuned parameter in each "
            f"point, for the axis is logarithmic. Received: {numbers[0]:g}"
        )
    if not np.all((accuracies >= 0) & (accuracies <= 1)):
        raise ValueError(
            f"`results[{name!r}]` must have accuracies from 0 to 1. Received: "
            f"{accuracies.tolist()}"
        )
    if not np.all((intervals >= 0) & (intervals <= 1)):
        raise ValueError(
            f"`results[{name!r}]` must have half intervals from 0 to 1. Received: "
            f"{intervals.tolist()}"
        )
    return texts, numbers, accuracies, intervals


def _scale_logarithmically(axis, low, high):
    """Makes the x axis logarithmic from low to high, with ticks such as 10k and 2M."""
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    # Few ticks over many powers of ten, more over few.
    densities = ((8, (1, 1.5, 2, 3, 4, 5, 7)), (200, (1, 2, 5)), (20_000, (1, 3)))
    steps = next((steps for span, steps in densities if high / low < span), (1,))
    powers = range(int(np.floor(np.log10(low))), int(np.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.set_xticks(ticks, [_human_count(tick) for tick in ticks])
    axis.minorticks_off()


def _human_count(number):
    """Returns a count such as `950`, `12k`, `3.4M` or `1B`."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
