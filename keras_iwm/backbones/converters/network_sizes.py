"""Sizes of published networks that the shapes of their weights do not tell."""

import math

import numpy as np

from keras_iwm.arguments import as_count, as_size, shown
from keras_iwm.layers.position_embedding import LEARNED
from keras_iwm.layers.sincos_positions import sincos_positions

# Attention heads of the published sizes, by width.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1536: 24}
LARGEST_DIFFERENCE = 1e-5  # of a stored table from the fixed positions that it holds


def heads_of(hidden_dim, num_heads, stated=None):
    """Return the number of heads: the one stated, asked for, or usual at this width.

    Args:
        hidden_dim: Integer, features of a token.
        num_heads: Optional integer, the user's.
        stated: Optional integer, the config's.

    Returns:
        Integer.

    Raises:
        ValueError: If there is none, or there are two.
    """
    if num_heads is not None:
        num_heads = as_count("num_heads", num_heads)
    if stated is not None and num_heads not in (None, stated):
        raise ValueError(
            f"`num_heads` must be {stated}, as the config says, or be left out. "
            f"Received: num_heads={num_heads}."
        )
    num_heads = num_heads or stated or HEADS.get(hidden_dim)
    if num_heads is None:
        raise ValueError(
            "`num_heads` must be given: the weights do not tell it, and no published "
            f"size has {hidden_dim} features. Received: num_heads=None."
        )
    return num_heads


def even_heads_of(hidden_dim, num_heads, stated=None):
    """Return what `heads_of` does, of heads whose features come in pairs."""
    num_heads = heads_of(hidden_dim, num_heads, stated)
    if hidden_dim % (2 * num_heads):
        raise ValueError(
            f"`num_heads` must share {hidden_dim} features evenly, in pairs. Received: "
            f"num_heads={num_heads}."
        )
    return num_heads


def grid_of(counts, patch_size, image_size, stated=None):
    """Return the grid of patches that a table of positions was made for.

    Args:
        counts: Tuple of integers, numbers of patches that the table may be of.
        patch_size: Integer.
        image_size: Optional integer or pair, the user's.
        stated: Optional integer or pair, the config's.

    Returns:
        Pair of integers, rows and columns.

    Raises:
        ValueError: If no size, or not this one, has so many patches.
    """
    wanted = image_size if image_size is not None else stated
    if wanted is None:
        for count in counts:
            if count == math.isqrt(max(count, 0)) ** 2 and count:
                return math.isqrt(count), math.isqrt(count)
        raise ValueError(
            f"`image_size` must be given: {counts[0]} positions are not those of a "
            "square. Received: image_size=None."
        )
    size = as_size("image_size", wanted)
    grid = tuple(side // patch_size for side in size)
    if any(side % patch_size for side in size) or math.prod(grid) not in counts:
        raise ValueError(
            f"`image_size` must have {counts[0]} patches of {patch_size} pixels, as "
            f"the network was trained with. Received: image_size={shown(wanted)}. "
            "Leave it out: the encoder takes images of other sizes as it is."
        )
    return grid


def kind_of_positions(table, grid_size, wanted, learned):
    """Return what positions a table holds: fixed ones, if they are those, or learned.

    Args:
        table: NumPy array of shape `(num_patches, hidden_dim)`.
        grid_size: Tuple of integers.
        wanted: Optional string, what the user asks for.
        learned: String, the kind of learned table that the source resamples like.

    Returns:
        One of the `positions` of `ViTEncoder`.

    Raises:
        ValueError: If fixed positions are asked for that the table does not hold.
    """
    if wanted in LEARNED:
        return wanted
    for kind in ("columns_first", "rows_first", "uniform_power"):
        fixed = None
        if table.shape[1] % 4 == 0:
            fixed = sincos_positions(
                grid_size,
                table.shape[1],
                columns_first=kind == "columns_first",
                uniform_power=kind == "uniform_power",
            )
        if (
            wanted in (None, kind)
            and fixed is not None
            and np.abs(table - fixed).max() < LARGEST_DIFFERENCE
        ):
            return kind
    if wanted is not None:
        raise ValueError(
            "`positions` must be 'learned' or 'learned_antialiased' for these weights, "
            f"whose table is no other. Received: positions={wanted!r}."
        )
    return learned
