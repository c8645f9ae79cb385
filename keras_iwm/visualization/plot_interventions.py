"""What moved latents cause, as curves and matrices."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_iwm.arguments import shown
from keras_iwm.type_aliases import Figure
from keras_iwm.visualization.figure import (
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
    wrapped,
)

_WAYS = {
    "seen": ("changed image seen", PALETTE[5], "--"),
    "told": ("told the action", PALETTE[0], "-"),
    "moved": ("latents moved", PALETTE[1], "-"),
}
_SIDE = 2.3


def plot_interventions(report: Mapping[str, Any]) -> Figure:
    """Draws what is recovered as each slot is moved, and what is left when erased.

    Above, for each slot, how much of it the predictions hold over how far it was
    moved, in units of its range, which ends at the shaded part: told the action, seen
    in the changed image, and moved in the latents. On the dotted line it is as much
    as it should be. Below, the slopes from each moved slot to each recovered one,
    where the latents are moved and where the action is told; and, where a slot's
    direction is erased from the latents of changed images, what is left of the slopes.

    Args:
        report: Dictionary from `intervention_report`, as it came or read from JSON.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If it is no such report.

    Example:

    ```python
    from keras_iwm.visualization import plot_interventions

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.InterventionEvaluator(
        model, images[:4], images[4:], num_pairs=32
    )
    report = keras_iwm.evaluation.intervention_report(evaluator)
    figure = plot_interventions(report)
    figure.savefig("interventions.png")
    ```
    """
    if not isinstance(report, dict) or not {"curves", "erased"} <= set(report):
        raise ValueError(
            "`report` must be a dictionary from intervention_report. Received: "
            f"{shown(report)}."
        )
    slots, places = report["settings"]["slots"], report["settings"]["places"]
    erased = [name for name in report["erased"] if name != "nothing"]
    matrices = {
        "latents moved": _matrix(report, "moved", slots),
        "told the action": _matrix(report, "told", slots),
        "left when erased": (
            [
                [report["erased"][name][slot]["slope"]["value"] for slot in slots]
                for name in ("nothing", *erased)
            ],
            ("nothing", *erased),
        ),
    }
    width = _SIDE * max(len(slots), 1.4 * len(matrices))
    figure = new_figure(width, 2.1 * _SIDE + 0.3)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    axes = above.subplots(1, len(slots), squeeze=False, sharey=True)[0]
    for axis, slot in zip(axes, slots, strict=True):
        _draw_curves(axis, slot, places, report["curves"])
    axes[0].set_ylabel("recovered", fontsize=TEXT_SIZE)
    above.legend(
        *axes[0].get_legend_handles_labels(),
        **{"loc": "outside upper center", "ncols": 3, "frameon": False},
        fontsize=TEXT_SIZE,
    )
    axes = below.subplots(1, len(matrices), squeeze=False)[0]
    for axis, (title, (values, names)) in zip(axes, matrices.items(), strict=True):
        picture = _draw_matrix(axis, title, values, names, slots)
    bar = below.colorbar(picture, ax=list(axes), shrink=0.8, aspect=30)
    bar.ax.tick_params(labelsize=TEXT_SIZE)
    bar.set_label("slope", fontsize=TEXT_SIZE)
    return figure


def _matrix(report, way, slots):
    """Slopes from moved to recovered slots, and the names of the rows."""
    matrix = report["inside"][way]["matrix"]
    values = [[matrix[moved][found]["value"] for found in slots] for moved in slots]
    return values, slots


def _draw_curves(axis, slot, places, curves):
    """Draws recovered over moved amounts of one slot."""
    largest = max(places)
    axis.axvspan(1, largest, color="0.93", linewidth=0)
    axis.axvspan(-largest, -1, color="0.93", linewidth=0)
    ends = (-largest, largest)
    axis.plot(ends, ends, ":", color="0.5", linewidth=1)
    for way, (label, color, style) in _WAYS.items():
        points = curves[way][slot]
        values, low, high = (
            np.array([point[name] for point in points], "float64")
            for name in ("value", "low", "high")
        )
        axis.plot(
            places, values, style, color=color, label=label, linewidth=1.6,
            marker="o", markersize=2.5,
        )  # fmt: skip
        if way == "moved":
            axis.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_title(wrapped(slot, 22), fontsize=TITLE_SIZE)
    axis.set_xlabel("moved", fontsize=TEXT_SIZE)
    axis.set(xlim=ends, ylim=ends)
    axis.tick_params(labelsize=TEXT_SIZE)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_matrix(axis, title, values, names, slots):
    """Draws a matrix of slopes, its numbers written into it."""
    values = np.array(values, "float64")
    picture = axis.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "white" if abs(value) > 0.6 else "black"
        axis.text(
            column, row, f"{value:.2f}", ha="center", va="center", color=color,
            fontsize=TEXT_SIZE,
        )  # fmt: skip
    axis.set_xticks(range(len(slots)), [wrapped(slot, 10) for slot in slots])
    axis.set_yticks(range(len(names)), [wrapped(name, 12) for name in names])
    axis.tick_params(labelsize=TEXT_SIZE, length=0)
    axis.tick_params("x", rotation=30)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=TITLE_SIZE)
    return picture
