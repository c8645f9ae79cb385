"""Orders of patches, as paths."""

from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, shown
from keras_iwm.type_aliases import Figure, Names
from keras_iwm.views.patch_order import (
    ORDERS,
    as_plane,
    mean_jump_length,
    patch_order,
)
from keras_iwm.visualization.figure import (
    ACCENT,
    PALETTE,
    TEXT_SIZE,
    TITLE_SIZE,
    new_figure,
)


def plot_patch_orders(
    grid_size: tuple[int, int], orders: Names | dict[str, Any] = ORDERS, seed: int = 0
) -> Figure:
    """Draws how orders go through the patches of an image.

    Each is a path from patch to patch, from pale at the first patch, which has a dot,
    to dark at the last. Below it stands the mean length of its jumps, in sides of a
    patch.

    Args:
        grid_size: Pair of integers, rows and columns of patches.
        orders: Names of orders; or a dictionary from a title to a name or a
            permutation, as `patch_order` takes them.
        seed: Integer, seed of the order `"random"`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no such order.

    Example:

    ```python
    from keras_iwm.visualization import plot_patch_orders

    figure = plot_patch_orders((8, 8), ("raster", "spiral"))
    figure.savefig("orders.png")
    ```
    """
    rows, columns = as_plane(grid_size)
    seed = as_count("seed", seed, 0)
    if not isinstance(orders, dict):
        is_list = isinstance(orders, (list, tuple))
        orders = {str(order): order for order in (orders if is_list else ())}
    if not orders:
        raise ValueError(
            f"`orders` must be one or more of {ORDERS}, or a dictionary from titles to "
            f"orders. Received: orders={shown(orders)}."
        )
    paths = {title: _checked(grid_size, order, seed) for title, order in orders.items()}
    side = 2.0
    figure = new_figure(side * len(paths), side * rows / columns + 0.6)
    axes = figure.subplots(1, len(paths), squeeze=False)[0]
    for axis, (title, path) in zip(axes, paths.items(), strict=True):
        _draw_path(axis, path, rows, columns)
        axis.set_title(title, fontsize=TITLE_SIZE)
        length = mean_jump_length(path, grid_size)
        axis.set_xlabel(f"mean jump {length:.2f}", fontsize=TEXT_SIZE)
    return figure


def _checked(grid_size, order, seed):
    """The patches in an order of `orders`."""
    is_random = isinstance(order, str) and order == "random"
    try:
        return patch_order(grid_size, order, seed if is_random else None)
    except ValueError as refusal:
        raise ValueError(f"An order in `orders` is refused: {refusal}") from None


def _draw_path(axis, path, rows, columns):
    """Draw the grid, and the path from patch to patch."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    row, column = np.divmod(path, columns)
    points = np.stack([column, row], axis=-1)
    colors = LinearSegmentedColormap.from_list(
        "path", ["#b9d3e2", PALETTE[0], "#12303f"]
    )
    lines = LineCollection(
        np.stack([points[:-1], points[1:]], axis=1),
        array=np.arange(len(path) - 1),
        cmap=colors,
        linewidth=2,
        capstyle="round",
    )
    axis.set_xticks(np.arange(columns + 1) - 0.5, labels=[])
    axis.set_yticks(np.arange(rows + 1) - 0.5, labels=[])
    axis.grid(color="#e3e3e3", linewidth=0.6)
    axis.tick_params(length=0)
    axis.set_axisbelow(True)
    axis.add_collection(lines)
    axis.plot(column[:1], row[:1], "o", color=ACCENT, markersize=6)
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
