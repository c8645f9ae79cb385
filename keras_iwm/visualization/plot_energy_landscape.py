"""How a model judges all values of two slots, beside the true ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_optional, shown
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    ACCENT,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
    wrapped,
)

_PANEL = 2.1  # Width of one landscape in inches.
_COLORS = ("#ffffff", "#e0a030", "#7dd3fc", "#f0abfc")
_KEYS = ("slots", "values", "energies", "taken", "lowest")


def plot_energy_landscape(
    landscape: Mapping[str, Any],
    paths: Mapping[str, Array] | None = None,
    num_clips: int = 4,
) -> Figure:
    """Draws the energies of two slots of an action as maps, one for each clip.

    Dark is near to the frame that came. A cross marks the action that was taken, a ring
    the lowest energy: where they lie apart, a planner that searches well is wrong. The
    scale of colours is each map's own.

    Args:
        landscape: Dictionary from `keras_iwm.evaluation.energy_landscape`.
        paths: Optional dictionary from names to arrays `(clips, points, 2)`, values of
            both slots, drawn as lines that end in a dot: how a planner came to its
            plan, such as `plan.history[:, :, 0, :2]`.
        num_clips: Positive integer, how many of the clips to draw.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If it is no landscape, or the paths are not of its clips.

    Example:

    ```python
    from keras_iwm.visualization import plot_energy_landscape

    values = np.linspace(-1, 1, 5)
    energies = np.hypot(values[:, None] - 0.5, values)[None]
    landscape = {"slots": ("pan_rows", "pan_columns"), "values": values}
    landscape |= {"energies": energies, "taken": [[0.4, 0.1]], "lowest": [[0.5, 0.0]]}
    figure = plot_energy_landscape(landscape)
    figure.savefig("landscape.png")
    ```
    """
    if not isinstance(landscape, dict) or not set(_KEYS) <= set(landscape):
        raise ValueError(
            "`landscape` must be a dictionary from energy_landscape. Received: "
            f"{shown(landscape)}."
        )
    slots, values, energies, taken, lowest = (landscape[key] for key in _KEYS)
    count = min(as_count("num_clips", num_clips), len(energies))
    paths = as_optional(_check_paths, "paths", paths, len(energies)) or {}
    figure = new_figure(0.6 + _PANEL * count, _PANEL + 0.75)
    axes = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
    half = (values[1] - values[0]) / 2  # A value is the middle of its cell.
    ends = (values[0] - half, values[-1] + half)
    for clip, axis in enumerate(axes):
        axis.imshow(
            energies[clip], origin="lower", extent=(*ends, *ends), cmap="viridis"
        )
        for color, (name, points) in zip(_COLORS, paths.items(), strict=False):
            axis.plot(
                points[clip, :, 1], points[clip, :, 0], color=color, linewidth=1.3,
                marker="o", markersize=4.5, markevery=[-1], label=name,
            )  # fmt: skip
        axis.scatter(
            *lowest[clip][::-1], s=95, facecolors="none", edgecolors="white",
            linewidths=1.6, label="lowest energy",
        )  # fmt: skip
        axis.scatter(
            *taken[clip][::-1], s=80, marker="x", color=ACCENT, linewidths=2.4,
            label="taken",
        )  # fmt: skip
        axis.set(xlim=ends, ylim=ends, xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axis.tick_params(labelsize=TEXT_SIZE)
    axes[0].set_ylabel(wrapped(slots[0], 24), fontsize=TITLE_SIZE)
    figure.supxlabel(wrapped(slots[1], 24), fontsize=TITLE_SIZE)
    legend = figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center",
        ncols=2 + len(paths), fontsize=TEXT_SIZE, frameon=True, facecolor="0.55",
        labelcolor="white", edgecolor="none",
    )  # fmt: skip
    legend.set_in_layout(True)
    return figure


def _check_paths(name, paths, count):
    """The paths as arrays, or what is wrong with them."""
    if not isinstance(paths, dict) or len(paths) > len(_COLORS):
        raise ValueError(
            f"`{name}` must be a dictionary from names to arrays, at most "
            f"{len(_COLORS)}. Received: {shown(paths)}."
        )
    paths = {key: as_array(f"{name}[{key!r}]", value) for key, value in paths.items()}
    for key, points in paths.items():
        if points.ndim != 3 or points.shape[::2] != (count, 2) or 0 in points.shape:
            raise ValueError(
                f"`{name}[{key!r}]` must have shape ({count}, points, 2), one row of "
                f"points for each clip. Received shape: {points.shape}."
            )
        if not np.isfinite(points).all():
            raise ValueError(f"`{name}[{key!r}]` must be finite numbers.")
    return paths
