"""Fixed sine and cosine positions."""

import functools

import numpy as np

from keras_iwm.arguments import as_boolean, as_count, as_grid


def sincos_positions(
    grid_size: tuple[int, ...],
    hidden_dim: int,
    resampled_size: tuple[int, ...] | None = None,
    columns_first: bool = False,
    uniform_power: bool = False,
) -> np.ndarray:
    """Fixed sine and cosine positions of a grid of patches, of any number of axes.

    Each axis has its own share of the features, in the axes' order: half of it sines,
    half cosines. For rows and columns, the first half of the features encodes the row,
    the second half the column. The pairs of a sine and a cosine are shared out evenly;
    what does not divide goes to the first axes, one pair each. A model made for one
    grid sees another through `resampled_size`: the patch centres are spread over the
    same extent, so that an object keeps its position when the image is enlarged.

    Args:
        grid_size: Tuple of integers, the grid that the model was made for: rows and
            columns, `(times, rows, columns)`, ...
        hidden_dim: Integer, number of features; a multiple of 4, and at least 2 for
            each axis.
        resampled_size: Tuple of as many integers, the grid to make positions for.
            Defaults to `grid_size`.
        columns_first: Boolean, whether the shares of the features are in the reverse
            order of the axes: the first half encodes the column, as in the published
            I-JEPA and in masked autoencoders.
        uniform_power: Boolean, whether all axes get as many pairs as the first, and
            features beyond `hidden_dim` are cut off, as in the published V-JEPA. Where
            the pairs divide it is the same.

    Returns:
        Float32 array of shape `(num_patches, hidden_dim)`, the last axis of the grid
        running fastest. It is shared between calls: do not write to it.

    Raises:
        ValueError: If `hidden_dim` is no multiple of 4 or too small, or the two grids
            differ in their number of axes.

    Example:

    ```python
    positions = keras_iwm.layers.sincos_positions((14, 14), 768)  # (196, 768)
    of_a_video = keras_iwm.layers.sincos_positions((8, 14, 14), 768)  # (1568, 768)
    ```
    """
    grid_size, hidden_dim = (
        as_grid("grid_size", grid_size),
        as_count("hidden_dim", hidden_dim),
    )
    sizes = grid_size
    if resampled_size is not None:
        sizes = as_grid("resampled_size", resampled_size)
    columns_first = as_boolean("columns_first", columns_first)
    uniform_power = as_boolean("uniform_power", uniform_power)
    return _positions(grid_size, hidden_dim, sizes, columns_first, uniform_power)


@functools.lru_cache(maxsize=32)
def _positions(grid_size, hidden_dim, sizes, columns_first, uniform_power):
    """The positions of checked arguments."""
    num_axes = len(grid_size)
    if hidden_dim % 4 or hidden_dim < 2 * num_axes:
        raise ValueError(
            "`hidden_dim` must be a multiple of 4, and at least 2 for each axis of the "
            "grid, for pairs of a sine and a cosine. Received: "
            f"hidden_dim={hidden_dim} for {num_axes} axes."
        )
    if len(sizes) != num_axes:
        raise ValueError(
            "`resampled_size` must have as many axes as `grid_size`. Received: "
            f"resampled_size={sizes} for grid_size={grid_size}."
        )
    parts = []
    axes = range(num_axes)
    for place, axis in enumerate(reversed(axes) if columns_first else axes):
        size, original = sizes[axis], grid_size[axis]
        num_pairs, rest = divmod(hidden_dim // 2, num_axes)
        num_pairs += rest > 0 if uniform_power else place < rest
        frequencies = 10000.0 ** (-np.arange(num_pairs) / num_pairs)
        centres = (np.arange(size) + 0.5) * original / size - 0.5
        angles = centres[:, None] * frequencies
        encoded = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
        shape = [1] * num_axes + [2 * num_pairs]
        shape[axis] = size
        parts.append(np.broadcast_to(encoded.reshape(shape), (*sizes, shape[-1])))
    positions = np.concatenate(parts, axis=-1)[..., :hidden_dim]
    positions = positions.reshape(-1, hidden_dim).astype("float32")
    positions.flags.writeable = False
    return positions
