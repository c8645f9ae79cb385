"""How far ahead a model of dynamics sees."""

from collections.abc import Mapping
from typing import Any

from keras_iwm.arguments import shown
from keras_iwm.type_aliases import Figure
from keras_iwm.visualization.figure import (
    ACCENT,
    HIT,
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
)

_STYLES = {
    "model": {"color": PALETTE[0], "linewidth": 2.2},
    "copy_last_frame": {"color": "0.35", "linestyle": "--"},
    "zero_action": {"color": PALETTE[3], "linestyle": "-."},
    "shuffled_action": {"color": ACCENT, "linestyle": ":"},
    "control": {"color": HIT, "linestyle": "-"},
    "untrained": {"color": PALETTE[4], "linestyle": "--"},
}


def plot_rollout(report: Mapping[str, Any]) -> Figure:
    """Draws errors of rollouts by how many frames they look ahead.

    On the left the model's error beside its controls, with 95 % intervals: the last
    known frame again, no action, the actions of another clip. On the right the error
    as a share of the last known frame's, beside a model that has learned nothing and,
    if the report has one, the control model's; above 1 a model is worse than nothing.

    Args:
        report: Dictionary from `keras_iwm.evaluation.dynamics_report`, as it came or
            read from JSON.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If it is no such report.

    Example:

    ```python
    from keras_iwm.visualization import plot_rollout

    names = ("model", "copy_last_frame", "zero_action", "shuffled_action")
    errors = [{"value": 0.4, "low": 0.3, "high": 0.5}] * 3
    measured = {
        "rollout": dict.fromkeys(names, errors), "relative_error": [0.6, 0.7, 0.8]
    }
    figure = plot_rollout({"settings": {}, "model": measured, "untrained": measured})
    figure.savefig("rollout.png")
    ```
    """
    parts = set(report) if isinstance(report, dict) else set()
    if not {"settings", "model", "untrained"} <= parts:
        raise ValueError(
            f"`report` must be a dictionary from dynamics_report. Received: "
            f"{shown(report)}."
        )
    figure = new_figure(8.4, 3.3)
    absolute, relative = figure.subplots(1, 2)
    for name, errors in report["model"]["rollout"].items():
        ahead = range(1, len(errors) + 1)
        style = _STYLES[name]
        absolute.plot(
            ahead, [error["value"] for error in errors], marker="o", markersize=4,
            label=name.replace("_", " "), **style,
        )  # fmt: skip
        bounds = ([error[end] for error in errors] for end in ("low", "high"))
        absolute.fill_between(
            ahead, *bounds, color=style["color"], alpha=0.15, linewidth=0
        )
    absolute.set_ylabel("error of latents", fontsize=TITLE_SIZE)
    for name in ("model", "control", "untrained"):
        shares = report[name]["relative_error"] if name in report else []
        known = [(a, share) for a, share in enumerate(shares, 1) if share is not None]
        if known:
            relative.plot(
                *zip(*known, strict=True), marker="o", markersize=4, label=name,
                **_STYLES[name],
            )  # fmt: skip
    relative.axhline(1.0, color="0.35", linewidth=1, linestyle="--")
    relative.set_ylabel("as a share of the last frame's", fontsize=TITLE_SIZE)
    for axis in (absolute, relative):
        axis.set_ylim(bottom=0)
        axis.set_xticks(range(1, len(report["model"]["relative_error"]) + 1))
        axis.set_xlabel("frames ahead", fontsize=TITLE_SIZE)
        axis.tick_params(labelsize=TEXT_SIZE)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=TEXT_SIZE, frameon=False)
    return figure
