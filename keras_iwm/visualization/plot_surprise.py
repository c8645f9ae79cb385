"""Where a model is surprised."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_iwm.arguments import shown
from keras_iwm.type_aliases import Figure
from keras_iwm.visualization.figure import (
    ACCENT,
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
    wrapped,
)

_BARS = {"prediction": "model", "copy": "copy", "untrained": "untrained"}


def plot_surprise(report: Mapping[str, Any]) -> Figure:
    """Draws what surprises a model: curves over time, and accuracies under them.

    One column for each event. Above, the mean surprise at the possible clips and at
    their impossible twins, frame by frame, counted from the event: before it they are
    the same. Below, the share of pairs in which the impossible clip surprised more,
    with its interval, beside the controls and the line of chance.

    Args:
        report: Dictionary that `keras_iwm.evaluation.evaluate_surprise` returns, or
            what of it was written as JSON.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If it is no such report.

    Example:

    ```python
    from keras_iwm.visualization import plot_surprise

    share = {"value": 0.8, "low": 0.7, "high": 0.9}
    vanishes = {
        "accuracy": {"prediction": share, "copy": share, "untrained": share},
        "curves": {
            "frames": [-1, 0, 1],
            "possible": [0.2, 0.2, 0.3],
            "impossible": [0.2, 0.5, 0.3],
        },
    }
    figure = plot_surprise({"events": {"vanishes": vanishes}})
    figure.savefig("surprise.png")
    ```
    """
    events = _check_report(report)
    figure = new_figure(2.6 * len(events) + 0.7, 4.4)
    axes = figure.subplots(
        2, len(events), squeeze=False, height_ratios=(1.35, 1), sharey="row"
    )
    for column, (event, (shares, frames, possible, impossible)) in enumerate(
        events.items()
    ):
        above, below = axes[:, column]
        for values, label, color, mark in (
            (possible, "possible", PALETTE[0], "o"),
            (impossible, "impossible", ACCENT, "s"),
        ):
            style = {"color": color, "marker": mark, "markersize": 4}
            above.plot(frames, values, label=label, **style)
        above.axvline(0, color="0.6", linewidth=0.8, linestyle=":")
        above.set_title(wrapped(event, 30), fontsize=TITLE_SIZE)
        above.set_xlabel("frame, from the event", fontsize=TEXT_SIZE)
        above.xaxis.get_major_locator().set_params(integer=True)
        _draw_shares(below, shares)
    axes[0, 0].set_ylabel("surprise", fontsize=TEXT_SIZE)
    axes[0, 0].legend(fontsize=TEXT_SIZE - 1, frameon=False)
    axes[1, 0].set_ylabel("pairs told apart", fontsize=TEXT_SIZE)
    for axis in axes.ravel():
        axis.tick_params(labelsize=TEXT_SIZE - 1)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_shares(axis, shares):
    """Draws accuracies as bars with their intervals, and the line of chance."""
    for place, (value, low, high) in enumerate(shares):
        color = ACCENT if place == 0 else "0.7"
        axis.bar(place, value, width=0.65, color=color)
        axis.vlines(place, low, high, color="black", linewidth=1.2)
        axis.text(
            place, 1.03, f"{100 * value:.0f} %", ha="center", fontsize=TEXT_SIZE - 1
        )
    axis.axhline(0.5, color="0.35", linewidth=1.2, linestyle="--")
    axis.set_ylim(0, 1.1)
    axis.set_xticks(range(len(shares)), _BARS.values())
    axis.set_yticks([0, 0.5, 1], ["0", "chance", "1"])


def _check_report(report):
    """Returns shares, frames and both curves for each event, or raises."""
    try:
        found = {}
        for event, parts in report["events"].items():
            shares = np.array(
                [
                    [parts["accuracy"][name][key] for key in ("value", "low", "high")]
                    for name in _BARS
                ],
                float,
            )
            names = ("frames", "possible", "impossible")
            curves = np.array([parts["curves"][name] for name in names], float)
            if not (np.isfinite(shares).all() and np.isfinite(curves).all()):
                raise ValueError("not finite")
            found[event] = (shares, *curves)
        if not found:
            raise ValueError("none")
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            "`report` must be what evaluate_surprise returns, with at least one event. "
            f"Received: {shown(report)}."
        ) from error
    return found
