"""The way that a plan has found to its goal."""

from collections.abc import Mapping

import numpy as np

from keras_iwm.arguments import as_optional, as_value_range, shown
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, ValueRange
from keras_iwm.visualization.figure import (
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    hide_frame,
    new_figure,
    prepare_images,
)

_PANEL = 1.5  # Width of one frame in inches.
_MARKERS = "osD^vP"


def plot_plan(
    frames: Array,
    goal: Array,
    paths: Mapping[str, Array] | None = None,
    value_range: ValueRange = (0, 255),
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws what the actions of a plan led to, step after step, and the goal.

    The first frame has the paths drawn over it, such as the one that was taken and
    those that planners have found. The last panel is the difference between where the
    plan ends and the goal, gray where there is none.

    Args:
        frames: Array `(steps + 1, height, width, channels)`, the frame that the plan
            starts from, and what followed each action.
        goal: Array `(height, width, channels)`.
        paths: Optional dictionary from at most 6 names to arrays `(points, 2)`, rows
            and columns in pixels of the first frame.
        value_range: Pair of numbers, what is drawn black and white.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the goal is not of the frames' size, or paths are none.

    Example:

    ```python
    from keras_iwm.visualization import plot_plan

    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), "uint8")
    paths = {"taken": [[7.5, 7.5], [9.5, 8.0], [12.0, 10.0]]}
    figure = plot_plan(frames, frames[-1], paths)
    figure.savefig("plan.png")
    ```
    """
    value_range = as_value_range(value_range)
    pictures = prepare_images(frames, value_range, "frames", rgb_channels)
    goal = as_array("goal", goal)
    if goal.shape != np.shape(frames)[1:]:
        raise ValueError(
            f"`goal` must have the shape of a frame, {np.shape(frames)[1:]}. Received: "
            f"{goal.shape}."
        )
    (goal,) = prepare_images(goal[None], value_range, "goal", rgb_channels)
    paths = as_optional(_check_paths, "paths", paths) or {}
    steps = len(pictures) - 1
    titles = ["start", *(f"after {step}" for step in range(1, steps + 1))]
    titles += ["goal", "difference"]
    pictures = [*pictures, goal, (pictures[-1] - goal + 1) / 2]
    ratio = pictures[0].shape[0] / pictures[0].shape[1]
    figure = new_figure(
        _PANEL * len(pictures), _PANEL * ratio + 0.35 + 0.25 * bool(paths)
    )
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axis, picture, title in zip(axes, pictures, titles, strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=TITLE_SIZE)
        hide_frame(axis)
    from matplotlib.patheffects import withStroke

    for index, (name, points) in enumerate(paths.items()):
        axes[0].plot(
            points[:, 1], points[:, 0], color=PALETTE[index], linewidth=1.6,
            marker=_MARKERS[index], markersize=3.5, label=name,
            path_effects=[withStroke(linewidth=2.8, foreground="white")],
        )  # fmt: skip
    if paths:
        figure.legend(
            loc="outside lower left",
            ncols=len(paths),
            fontsize=TEXT_SIZE,
            frameon=False,
        )
    return figure


def _check_paths(name, paths):
    """The paths as arrays, or what is wrong with them."""
    if not isinstance(paths, dict) or len(paths) > len(_MARKERS):
        raise ValueError(
            f"`{name}` must be a dictionary from names to arrays, at most "
            f"{len(_MARKERS)}. Received: {shown(paths)}."
        )
    paths = {key: as_array(f"{name}[{key!r}]", value) for key, value in paths.items()}
    for key, points in paths.items():
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(
                f"`{name}[{key!r}]` must be finite numbers of shape (points, 2), rows "
                f"and columns. Received shape: {points.shape}."
            )
    return paths
