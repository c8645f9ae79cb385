"""Rotary positions."""

import functools
from typing import Literal, get_args

import numpy as np

from keras_iwm.arguments import as_choice, as_count, as_grid

RotaryPositions = Literal["rotary", "rotary_tiled", "rotary_scaled"]


def rotary_positions(
    grid_size: tuple[int, ...], head_dim: int, positions: RotaryPositions = "rotary"
) -> np.ndarray:
    """Rotations of an attention head's features, for a grid of any number of axes.

    Queries and keys are turned by angles that grow with the place on the grid, so that
    their product depends on how far apart they are, not on where (rotary positions,
    arXiv 2104.09864). A pair of features that turns together is one of the first half
    and its counterpart in the second half. Each axis has its own share of the pairs, in
    the axes' order, all the same number; what does not divide is not turned (V-JEPA 2,
    arXiv 2506.09985).

    Args:
        grid_size: Tuple of integers: rows and columns, `(times, rows, columns)`, ...
        head_dim: Integer, features of a head; even, and at least 2 for each axis.
        positions: `"rotary"` counts places in patches, on any grid: a larger grid goes
            on where a smaller one ends. `"rotary_scaled"` spreads the centres of the
            patches from -1 to 1 on each axis, on any grid: a larger image is the same
            one, seen more finely (DINOv3, arXiv 2508.10104). `"rotary_tiled"` counts
            patches, and turns the two features of a pair with different frequencies,
            neighbours in a list that is gone through twice, as the published V-JEPA 2
            does: this is no rotation, products depend on where both are, and it is for
            its weights only.

    Returns:
        Float32 array of shape `(num_patches, 2, head_dim)`, the last axis of the grid
        running fastest: what `SelfAttention` takes as `rotation`. First the cosines,
        then the sines, negative in the first half. It is shared between calls: do not
        write to it.

    Raises:
        ValueError: If `head_dim` is odd or too small, or there are no such positions.

    Example:

    ```python
    rotation = keras_iwm.layers.rotary_positions((8, 4, 4), 64)  # (128, 2, 64)
    attention = keras_iwm.layers.SelfAttention(num_heads=3)
    outputs = attention(keras.random.normal((2, 128, 192)), rotation=rotation[None])
    ```
    """
    return _positions(
        as_grid("grid_size", grid_size),
        as_count("head_dim", head_dim),
        as_choice("positions", positions, get_args(RotaryPositions)),
    )


@functools.lru_cache(maxsize=32)
def _positions(grid_size, head_dim, positions):
    """The positions of checked arguments."""
    num_axes = len(grid_size)
    if head_dim % 2 or head_dim < 2 * num_axes:
        raise ValueError(
            "`head_dim`, the number of features of an attention head, must be even, "
            "and at least 2 for each axis of the grid, for pairs that are turned. "
            f"Received: head_dim={head_dim} for {num_axes} axes. Choose another number "
            "of heads or features."
        )
    num_pairs = head_dim // 2 // num_axes
    pairs = np.arange(num_pairs)
    places, base = np.indices(grid_size).reshape(num_axes, -1, 1), 10_000.0
    if positions == "rotary_scaled":
        sides = np.reshape(grid_size, (num_axes, 1, 1))
        places, base = 2 * np.pi * ((2 * places + 1) / sides - 1), 100.0
    frequencies = base ** (-pairs / num_pairs)
    angles = []
    for member in (0, 1):
        is_tiled = positions == "rotary_tiled"
        which = (2 * pairs + member) % num_pairs if is_tiled else pairs
        turned = np.concatenate(list(places * frequencies[which]), axis=-1)
        still = np.zeros((len(turned), head_dim // 2 - turned.shape[1]))
        angles += [turned, still]
    angles = np.concatenate(angles, axis=-1)
    sines = np.sin(angles) * np.repeat((-1, 1), head_dim // 2)
    rotation = np.stack([np.cos(angles), sines], axis=1).astype("float32")
    rotation.flags.writeable = False
    return rotation
