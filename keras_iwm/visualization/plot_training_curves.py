"""A run at a glance."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_iwm.arguments import as_number, shown
from keras_iwm.evaluation.seed_interval import t_quantile
from keras_iwm.type_aliases import Figure, History
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
    history: History | Sequence[History],
    summary: Mapping[str, Any] | None = None,
) -> Figure:
    """Draws what a run logged, or several runs, one panel for each kind of number.

    Panels: loss, mean reciprocal rank with its chance line and the shuffled-action
    control, hit rate at 1, RankMe, feature spread, accuracy. Only what was logged is
    drawn, with a mark at each epoch that was measured. All axes begin at 0, so that
    noise does not look like a collapse. A loss that falls while RankMe or the feature
    spread falls towards 0 too is collapse, not progress.

    Of several runs, which differ in their seeds, curves are means, in bands that are
    their 95 % intervals by Student's t: what every run has logged, at the epochs that
    all have measured.

    Args:
        history: What `fit` returned, its `history` dictionary, or the path of a file
            that `keras_iwm.callbacks.HistoryFile` or `keras.callbacks.CSVLogger` wrote.
            Or a list of these, one for each run.
        summary: Optional dictionary, such as `keras_iwm.evaluation.compare_features`
            returns: its `rankme_untrained`, `knn_untrained` and `knn_pixels` are drawn
            as dotted lines, what the curves must rise above.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If none of these numbers was logged, or not by every run at the same
            epochs.

    Example:

    ```python
    from keras_iwm.visualization import plot_training_curves

    nan = float("nan")  # not measured
    figure = plot_training_curves(
        {"loss": [0.9, 0.6, 0.5], "knn_accuracy": [0.5, nan, 0.7]},
        summary={"knn_untrained": 0.45, "knn_pixels": 0.3},
    )
    figure.savefig("curves.png")
    seeds = [{"loss": [0.9, 0.6]}, {"loss": [0.8, 0.7]}, {"loss": [0.9, 0.5]}]
    figure = plot_training_curves(seeds)
    ```
    """
    runs = [_read(run) for run in _as_runs(history)]
    references = _read_references(summary)
    logged = {name: found for name in runs[0] if (found := _of_all(runs, name))}
    panels = {
        title: {name: label for name, label in curves.items() if name in logged}
        for title, curves in _PANELS.items()
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        known = [name for curves in _PANELS.values() for name in curves]
        raise ValueError(
            f"`history` must hold at least one of {', '.join(known)}. Received: "
            f"{', '.join(runs[0]) or 'nothing'}"
            f"{f' and others, by {len(runs)} runs' if len(runs) > 1 else ''}."
        )

    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = new_figure(3.5 * num_columns, 2.6 * num_rows)
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        for index, (name, label) in enumerate(curves.items()):
            epochs, means, margins = logged[name]
            style = {"linewidth": 1.8, "color": PALETTE[index]}
            if name == "mrr_chance":
                style = {"linewidth": 1.2, "color": "0.35", "linestyle": "--"}
            elif len(epochs) <= _MOST_MARKED:
                style |= {"marker": _MARKS[index], "markersize": 4}
            axis.plot(epochs, means, label=label, **style)
            if len(runs) > 1:
                low, high, color = means - margins, means + margins, style["color"]
                axis.fill_between(epochs, low, high, color=color, alpha=0.2, lw=0)
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
    if len(runs) > 1:
        words = f"means of {len(runs)} runs, and their 95 % intervals"
        figure.suptitle(words, fontsize=TEXT_SIZE, color="0.35")
    return figure


def _as_runs(history):
    """Returns a list of runs, each as it was given."""
    if not isinstance(history, (list, tuple)):
        return [history]
    if not history:
        raise ValueError(
            "`history` must hold at least one run. Received: an empty list."
        )
    return history


def _of_all(runs, name):
    """Returns epochs that all runs have measured, with mean and margin, or `None`."""
    epochs = sorted(set.intersection(*(set(run.get(name, ())) for run in runs)))
    if not epochs:
        return None
    values = np.array([[run[name][epoch] for epoch in epochs] for run in runs])
    margins = np.zeros(len(epochs))
    if len(runs) > 1:
        errors = values.std(axis=0, ddof=1) / np.sqrt(len(runs))
        margins = t_quantile(len(runs) - 1) * errors
    return np.array(epochs), values.mean(axis=0), margins


def _read(history):
    """Returns `{name: {epoch: value}}` of what was measured, epochs counted from 1."""
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
    # `CSVLogger` writes columns of a validation that there was not, full of NA.
    return {
        name: {
            epoch: value
            for epoch, value in zip(epochs, _as_floats(values), strict=False)
            if np.isfinite(value)
        }
        for name, values in columns.items()
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
    return floats
