"""Where methods stand between invariant and equivariant features."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_iwm.arguments import as_name
from keras_iwm.type_aliases import Figure
from keras_iwm.visualization.figure import (
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
    wrapped,
)

_MARKERS = "osD^vP"
_CONTROL = "0.15"


def plot_method_comparison(
    results: Mapping[str, Sequence[Sequence[float]]], control: str = "untrained"
) -> Figure:
    """Draws abstraction by equivariance, one point a run, to place methods in between.

    To the right the features hold what the operations change (*equivariance*, the R2 of
    a probe that reads the action from the features of two views, the same for all
    methods); above, what finetuning reaches a linear layer already finds in them
    (*abstraction*, linear accuracy as a share of finetuned accuracy). Contrastive
    features are to be found above on the left, those of masked image modelling below on
    the right, and image world models anywhere between (image world models, arXiv
    2403.00504, whose figures show accuracies by equivariance).

    A share of finetuned accuracy, for a method whose features are better in both ways
    is no more abstract. It is above 1 where finetuning was too short. Equivariance is
    no merit of its own: an untrained encoder's features hold nearly all of the image.

    Args:
        results: Dictionary from a method's name to its runs, a list of
            `(equivariance, linear_accuracy, finetuned_accuracy)`: an R2 of at most 1,
            and accuracies from 0 to 1, the last one above 0.
        control: String, the name in `results` of the encoders that have learned
            nothing, which are drawn as black crosses. It may be missing.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no method, or a run is not such a triple.

    Example:

    ```python
    from keras_iwm.visualization import plot_method_comparison

    figure = plot_method_comparison(
        {
            "iwm": [(0.55, 0.42, 0.60), (0.57, 0.41, 0.61)],
            "moco": [(0.31, 0.47, 0.58), (0.29, 0.46, 0.59)],
            "untrained": [(0.62, 0.30, 0.52)],
        }
    )
    figure.savefig("methods.png")
    ```
    """
    if not isinstance(results, dict) or not results:
        raise ValueError(
            "`results` must be a dictionary from a method's name to its runs, with at "
            f"least one method. Received: {results!r}"
        )
    control = as_name("control", control)
    runs = {name: _as_runs(name, values) for name, values in results.items()}
    figure = new_figure(7.2, max(4.2, 0.4 + 0.3 * len(runs)))
    axis = figure.subplots()
    learned = 0
    for name, (equivariance, abstraction) in runs.items():
        if name == control:
            style = {"marker": "x", "color": _CONTROL, "linewidth": 1.8}
        else:
            # No two in thirty are alike: there are five colours and six marks.
            marker, color = _MARKERS[learned % 6], PALETTE[learned % 5]
            style = {"marker": marker, "color": color, "linewidth": 0}
            learned += 1
        label = wrapped(name.replace(":", ": ").replace(",", ", "), 26)
        axis.scatter(equivariance, abstraction, s=46, label=label, zorder=3, **style)
    axis.set_xlabel("equivariance: R² of the action", fontsize=TITLE_SIZE)
    axis.set_ylabel("abstraction: linear / finetuned accuracy", fontsize=TITLE_SIZE)
    axis.margins(0.12)
    axis.tick_params(labelsize=TEXT_SIZE)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    corner = {"transform": axis.transAxes, "fontsize": TEXT_SIZE, "color": "0.45"}
    axis.text(0.01, 0.99, "invariant, abstract", ha="left", va="top", **corner)
    axis.text(0.99, 0.01, "equivariant, detailed", ha="right", va="bottom", **corner)
    figure.legend(
        loc="outside right upper", fontsize=TEXT_SIZE, frameon=False, labelspacing=0.8
    )
    return figure


def _as_runs(name, values):
    """Returns the equivariance and the abstraction of each run."""
    try:
        values = np.array([tuple(value) for value in values], "float64")
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 2 or values.shape[1] != 3 or len(values) == 0:
        raise ValueError(
            f"`results[{name!r}]` must be a list of at least one run, each "
            "(equivariance, linear_accuracy, finetuned_accuracy)."
        )
    equivariance, linear, finetuned = values.T
    accuracies = values[:, 1:]
    if not np.all((accuracies >= 0) & (accuracies <= 1)) or not finetuned.all():
        raise ValueError(
            f"`results[{name!r}]` must have accuracies from 0 to 1, finetuned ones "
            f"above 0. Received: {accuracies.tolist()}"
        )
    if not np.all(equivariance <= 1):
        raise ValueError(
            f"`results[{name!r}]` must have an equivariance of at most 1, an R2. "
            f"Received: {equivariance.tolist()}"
        )
    return equivariance, linear / finetuned
