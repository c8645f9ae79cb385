"""Fixed 2-D sine and cosine positions."""

import functools

import numpy as np


@functools.lru_cache(maxsize=32)
def sincos_positions(grid_size, hidden_dim, resampled_size=None):
    """Fixed 2-D sine and cosine positions of a grid of patches.

    The first half of the features encodes the row, the second half the column.
    A model made for one grid sees another through `resampled_size`: the patch
    centres are spread over the same extent, so that an object keeps its position
    when the image is enlarged.

    Args:
        grid_size: Pair of integers, rows and columns of the grid that the model
            was made for.
        hidden_dim: Integer, number of features; a multiple of 4.
        resampled_size: Pair of integers, rows and columns of the grid to make
            positions for. Defaults to `grid_size`.

    Returns:
        Float32 array of shape `(rows * columns, hidden_dim)`, row by row. It is
        shared between calls: do not write to it.

    Raises:
        ValueError: If `hidden_dim` is not a multiple of 4.

    Example:

    ```python
    positions = keras_iwm.layers.sincos_positions((14, 14), 768)
    ```
    """
    if hidden_dim % 4:
        raise ValueError(
            "`hidden_dim` must be a multiple of 4, for the sines and cosines of "
            f"rows and columns. Received: hidden_dim={hidden_dim}."
        )
    sizes = resampled_size or grid_size
    frequencies = 10000.0 ** (-np.arange(hidden_dim // 4) / (hidden_dim / 4))
    axes = []
    for size, original in zip(sizes, grid_size, strict=True):
        centres = (np.arange(size) + 0.5) * original / size - 0.5
        angles = centres[:, None] * frequencies
        axes.append(np.concatenate([np.sin(angles), np.cos(angles)], axis=-1))
    rows, columns = np.broadcast_arrays(axes[0][:, None], axes[1][None, :])
    positions = np.concatenate([rows, columns], axis=-1)
    positions = positions.reshape(-1, hidden_dim).astype("float32")
    positions.flags.writeable = False
    return positions
