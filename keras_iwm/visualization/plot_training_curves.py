"""A run at a glance."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_number, shown
from keras_iwm.type_aliases import Figure, Path
from keras_iwm.visualization.figure import (
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
)

# Each curve its own mark too, for those who do not tell the colours apart.
_MARKS = "os^Dv"
_MOST_MARKED = 30  # Measurements; more of them make a band of marks.
# Title -> {logged name: label of its curve}
_PANELS = {
    "loss": {"loss": "training", "val_loss": "validation"},
    "mean reciprocal rank": {
        "mrr": "world model",
        "mrr_shuffled_action": "shuffled actions",
        "mrr_chance": "chance",
    },
    "hit rate at 1": {"hit_at_1": "world model"},
    "RankMe": {"rankme": "pooled features"},
    "feature spread": {"feature_std": "pooled features"},
    "accuracy": {
        "knn_accuracy": "nearest neighbours",
        "probe_accuracy": "probe, training",
        "val_probe_accuracy": "probe, validation",
        "accuracy": "training",
        "val_accuracy": "validation",
    },
}


# Title -> {name in a summary: label of its line}
_REFERENCES = {
    "RankMe": {"rankme_untrained": "untrained encoder"},
    "accuracy": {"knn_untrained": "untrained encoder", "knn_pixels": "pixels"},
}


def plot_training_curves(
    history: keras.callbacks.History | Mapping[str, Sequence[float]] | Path,
    summary: Mapping[str, Any] | None = None,
) -> Figure:
    """Draws what a run logged, one panel for each kind of number.

    Panels: loss, mean reciprocal rank with its chance line and the shuffled-action
    control, hit rate at 1, RankMe, feature spread, accuracy. Only what was logged is
    drawn, with a mark at each epoch that was measured. All axes begin at 0, so that
    noise does not look like a collapse. A loss that falls while RankMe or the feature
    spread falls towards 0 too is collapse, not progress.

    Args:
        history: What `fit` returned, its `history` dictionary, or the path of a file
            that `keras_iwm.callbacks.HistoryFile` or `keras.callbacks.CSVLogger` wrote.
        summary: Optional dictionary, such as `keras_iwm.evaluation.compare_features`
            returns: its `rankme_untrained`, `knn_untrained` and `knn_pixels` are drawn
            as dotted lines, what the curves must rise above.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If none of these numbers was logged.

    Example:

    ```python
    from keras_iwm.visualization import plot_training_curves

    nan = float("nan")  # not measured
    figure = plot_training_curves(
        {"loss": [0.9, 0.6, 0.5], "knn_accuracy": [0.5, nan, 0.7]},
        summary={"knn_untrained": 0.45, "knn_pixels": 0.3},
    )
    figure.savefig("curves.png")
    ```
    """
    epochs, columns = _read(history)
    references = _read_references(summary)
    # `CSVLogger` writes columns of a validation that there was not, full of NA.
    logged = {name for name, values in columns.items() if np.isfinite(values).any()}
    panels = {
        title: {name: label for name, label in curves.items() if name in logged}
        for title, curves in _PANELS.items()
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        known = [name for curves in _PANELS.values() for name in curves]
        raise ValueError(
            f"`history` must hold at least one of {', '.join(known)}. Received: "
            f"{', '.join(columns) or 'nothing'}"
        )

    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = new_figure(3.5 * num_columns, 2.6 * num_rows)
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        for index, (name, label) in enumerate(curves.items()):
            measured = np.isfinite(columns[name])
            style = {"linewidth": 1.8, "color": PALETTE[index]}
            if name == "mrr_chance":
                style = {"linewidth": 1.2, "color": "0.35", "linestyle": "--"}
            elif measured.sum() <= _MOST_MARKED:
                style |= {"marker": _MARKS[index], "markersize": 4}
            axis.plot(epochs[measured], columns[name][measured], label=label, **style)
        lines = references.get(title, {})
        for color, (label, value) in zip(("0.2", "0.55"), lines.items(), strict=False):
            axis.axhline(value, label=label, color=color, linewidth=1.4, linestyle=":")
        axis.set_ylim(0, 1.06 * axis.get_ylim()[1])
        axis.set_title(title, fontsize=TITLE_SIZE)
        axis.set_xlabel("epoch", fontsize=TEXT_SIZE)
        axis.tick_params(labelsize=TEXT_SIZE - 1)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1 or lines or title == "accuracy":
            axis.legend(fontsize=TEXT_SIZE - 1, frameon=False)
    for axis in axes[len(panels) :]:
        axis.remove()
    return figure


def _read(history):
    """Returns the epochs, counted from 1, and `{name: values}` as float arrays."""
    if isinstance(history, (str, pathlib.Path)) and pathlib.Path(history).is_file():
        with open(history, newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: [row[name] for row in rows] for name in (rows or [{}])[0]}
        epochs = [int(epoch) + 1 for epoch in columns.pop("epoch", [])]
    else:
        columns = getattr(history, "history", history)
        if not isinstance(columns, dict) or not all(map(np.iterable, columns.values())):
            raise ValueError(
                "`history` must be what `fit` returns, a dictionary of lists or the "
                f"path of a CSV file. Received: {shown(history)}."
            )
        start = next(iter(getattr(history, "epoch", [])), 0)
        longest = max((len(values) for values in columns.values()), default=0)
        epochs = [start + 1 + epoch for epoch in range(longest)]
    return np.array(epochs, int), {
        name: _as_floats(values) for name, values in columns.items()
    }


def _read_references(summary):
    """Returns `{title: {label: value}}` of what a summary holds of it."""
    summary = {} if summary is None else summary
    if not isinstance(summary, dict):
        raise ValueError(
            "`summary` must be a dictionary from names to numbers, such as "
            f"`compare_features` returns. Received: {shown(summary)}."
        )
    return {
        title: {
            label: as_number(f"summary[{name!r}]", summary[name], 0, float("inf"))
            for name, label in lines.items()
            if name in summary
        }
        for title, lines in _REFERENCES.items()
    }


def _as_floats(values):
    """Returns values as floats; what is no number, such as `NA`, becomes NaN."""
    floats = []
    for value in values:
        try:
            floats.append(float(value))
        except (TypeError, ValueError):
            floats.append(np.nan)
    return np.array(floats)
