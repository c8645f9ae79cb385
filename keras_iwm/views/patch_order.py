"""Orders in which the patches of an image are predicted."""

import numpy as np

from keras_iwm.arguments import as_count, as_grid, as_optional, shown
from keras_iwm.type_aliases import Array

ORDERS = ("raster", "snake", "spiral", "morton", "random")


def patch_order(
    grid_size: tuple[int, int], order: str | Array = "raster", seed: int | None = None
) -> np.ndarray:
    """Return an order in which an autoregressive model may go through the patches.

    - `"raster"`: row by row, as one reads.
    - `"snake"`: row by row, every second one backwards, so that each patch touches the
      one before it.
    - `"spiral"`: from the centre outwards; on a square grid each patch touches the one
      before it.
    - `"morton"`: by the interleaved bits of row and column, so that each quarter is
      gone through before the next, and each of its quarters. On a grid that is no power
      of two, the order is that of the next larger one, absent patches left out.
    - `"random"`: one permutation, which follows from `seed`.

    Args:
        grid_size: Pair of integers, rows and columns of patches.
        order: One of these names, or a permutation of your own: a sequence of all
            patches' numbers, which count row by row from 0.
        seed: Optional integer, for `"random"` alone. By default another order is drawn
            at every call.

    Returns:
        Int32 array of shape `(num_patches,)`, the patches' numbers from first to last.

    Raises:
        ValueError: If there is no such order, or the permutation is none.

    Example:

    ```python
    keras_iwm.views.patch_order((3, 3), "spiral")  # [4, 5, 8, 7, 6, 3, 0, 1, 2]
    ```
    """
    rows, columns = as_plane(grid_size)
    seed = as_optional(as_count, "seed", seed, 0)
    if not isinstance(order, str):
        return as_permutation(order, rows * columns)
    if order not in ORDERS:
        raise ValueError(
            f"`order` must be one of {ORDERS}, or a permutation of all patches. "
            f"Received: order={shown(order)}."
        )
    if seed is not None and order != "random":
        raise ValueError(
            "`seed` is for the order 'random' alone. Received: "
            f"seed={seed} for order={order!r}."
        )
    if order == "random":
        drawn = np.random.default_rng(seed).permutation(rows * columns)
        return drawn.astype("int32")
    row, column = np.divmod(np.arange(rows * columns), columns)
    if order == "raster":
        rank = row * columns + column
    elif order == "snake":
        rank = row * columns + np.where(row % 2, columns - 1 - column, column)
    elif order == "spiral":
        return _spiral(rows, columns)
    else:
        rank = _interleaved_bits(row, column)
    return np.argsort(rank).astype("int32")


def mean_jump_length(order: str | Array, grid_size: tuple[int, int]) -> float:
    """Return how far apart patches that follow each other lie, on average.

    A model predicts the easier the nearer to the next patch its last ones lie, so
    compare orders by it too.

    Args:
        order: What `patch_order` takes or returns.
        grid_size: Pair of integers, rows and columns of patches.

    Returns:
        Float, the mean distance between the centres of one patch and the next, in
        sides of a patch. 0 for a grid of one patch.

    Raises:
        ValueError: See `patch_order`; `"random"` has another length at each draw.

    Example:

    ```python
    keras_iwm.views.mean_jump_length("snake", (14, 14))  # 1.0
    ```
    """
    if isinstance(order, str) and order == "random":
        raise ValueError(
            "`order` 'random' is another one at every draw. Received: order='random'. "
            "Pass one: patch_order(grid_size, 'random', seed=0)."
        )
    columns = as_plane(grid_size)[1]
    order = patch_order(grid_size, order)
    if len(order) == 1:
        return 0.0
    places = np.stack(np.divmod(order, columns), axis=-1)
    return float(np.linalg.norm(np.diff(places, axis=0), axis=-1).mean())


def as_plane(grid_size):
    """`grid_size` as rows and columns."""
    grid = as_grid("grid_size", grid_size)
    if len(grid) != 2:
        raise ValueError(
            "`grid_size` must be a pair (rows, columns) of patches. Received: "
            f"grid_size={grid}."
        )
    return grid


def as_permutation(order, num_patches):
    """`order` as an array of all patches' numbers, each once."""
    try:
        numbers = [as_count("order", number, 0) for number in order]
    except (TypeError, ValueError):
        numbers = []
    if sorted(numbers) != list(range(num_patches)):
        raise ValueError(
            f"`order` must be one of {ORDERS}, or hold the number of each of the "
            f"{num_patches} patches once, from 0. Received: order={shown(order)}."
        )
    return np.array(numbers, "int32")


def _spiral(rows, columns):
    """Patches along a spiral from the centre: right, down, left, up, ever farther."""
    row, column = (rows - 1) // 2, (columns - 1) // 2
    order, steps = [row * columns + column], 0
    while len(order) < rows * columns:
        for row_step, column_step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            # Two sides of each length: 1 right, 1 down, 2 left, 2 up, 3 right, ...
            steps += column_step != 0
            for _ in range(steps):
                row, column = row + row_step, column + column_step
                if 0 <= row < rows and 0 <= column < columns:
                    order.append(row * columns + column)
    return np.array(order, "int32")


def _interleaved_bits(row, column):
    """Numbers whose bits are those of row and column in turn, the row's in front."""
    rank = np.zeros_like(row)
    for bit in range(int(max(row.max(), column.max())).bit_length()):
        pair = 2 * (row >> bit & 1) + (column >> bit & 1)
        rank += pair << 2 * bit
    return rank
