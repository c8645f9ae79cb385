"""What tells tokens where on the grid they come from."""

import math
from typing import Literal, get_args

import keras
import numpy as np
from keras import ops

from keras_iwm.layers.bicubic_matrix import bicubic_matrix
from keras_iwm.layers.rotary_positions import RotaryPositions, rotary_positions
from keras_iwm.layers.sincos_positions import sincos_positions

FixedPositions = Literal["rows_first", "columns_first", "uniform_power"]
LearnedPositions = Literal["learned", "learned_antialiased"]
AddedPositions = Literal[FixedPositions, LearnedPositions]
# Of a predictor, which has no table.
GivenPositions = Literal[FixedPositions, RotaryPositions]
Positions = Literal[AddedPositions, RotaryPositions]
FIXED = get_args(FixedPositions)
LEARNED = get_args(LearnedPositions)
ROTARY = get_args(RotaryPositions)


class PositionEmbedding(keras.layers.Layer):
    """Add positions to the tokens of patches, and put prefix tokens in front of them.

    Fixed positions of another grid are computed for the centres of its patches; a
    learned table is resampled bicubically. Of rotary positions nothing is added:
    attention takes what `rotation` returns.

    Args:
        positions: One of `FIXED`, `LEARNED` and `ROTARY`, as `ViTEncoder` explains
            them.
        grid_size: Tuple of integers, the grid that the model is made for.
        hidden_dim: Integer, features of a token.
        num_heads: Integer, attention heads that share them.
        num_prefix_tokens: Integer, learned tokens that belong to no patch.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        tokens: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        patch_ids: Integer tensor of shape `(batch_size, num_patches)`, or `None`.
        grid_size: Tuple of as many integers, the grid of the images.

    Returns:
        Tensor of shape `(batch_size, num_prefix_tokens + num_patches, hidden_dim)`.
    """

    def __init__(
        self,
        positions,
        grid_size,
        hidden_dim,
        num_heads,
        num_prefix_tokens=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.positions = positions
        self.grid_size = grid_size
        self.hidden_dim = hidden_dim
        self.head_dim = hidden_dim // num_heads
        self.num_prefix_tokens = num_prefix_tokens
        # Refuse a wrong width early.
        if positions in FIXED:
            sincos_positions(grid_size, hidden_dim)
        elif positions in ROTARY:
            rotary_positions(grid_size, self.head_dim)

    def build(self):
        """Create the table and the prefix tokens, where there are any."""
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        if self.positions in LEARNED:
            self.table = self.add_weight(
                shape=(math.prod(self.grid_size), self.hidden_dim),
                initializer=normal,
                name="table",
            )
        if self.num_prefix_tokens:
            self.prefix_tokens = self.add_weight(
                shape=(self.num_prefix_tokens, self.hidden_dim),
                initializer=normal,
                name="prefix_tokens",
            )
        self.built = True

    def call(self, tokens, patch_ids, grid_size):
        """Add the positions of all patches, or of those at `patch_ids`."""
        if self.positions not in ROTARY:
            positions = ops.cast(self.positions_of(tuple(grid_size)), tokens.dtype)
            if patch_ids is None:
                tokens = tokens + positions[None]
            else:
                tokens = tokens + ops.take(positions, patch_ids, axis=0)
        if not self.num_prefix_tokens:
            return tokens
        prefix = ops.broadcast_to(
            ops.cast(self.prefix_tokens, tokens.dtype)[None],
            (ops.shape(tokens)[0], self.num_prefix_tokens, self.hidden_dim),
        )
        return ops.concatenate([prefix, tokens], axis=1)

    def rotation(self, patch_ids, grid_size, num_others=0):
        """Return how attention turns the tokens of patches and those beside them.

        Args:
            patch_ids: Integer tensor of shape `(batch_size, num_patches)`, or `None`.
            grid_size: Tuple of integers, the grid of the images.
            num_others: Integer, tokens behind the patches that stand nowhere and are
                not turned, as prefix tokens are not.

        Returns:
            Tensor of shape `(batch_size or 1, num_tokens, 2, head_dim)`, or `None` if
            positions are not rotary.
        """
        if self.positions not in ROTARY:
            return None
        table = rotary_positions(tuple(grid_size), self.head_dim, self.positions)
        rotation = ops.convert_to_tensor(table, dtype=self.compute_dtype)[None]
        if patch_ids is not None:
            rotation = ops.take(rotation[0], patch_ids, axis=0)
        # Cosines of 1 and sines of 0 turn nothing.
        still = np.repeat([1.0, 0.0], self.head_dim).reshape(1, 1, 2, -1)
        still = ops.broadcast_to(
            ops.convert_to_tensor(still, dtype=self.compute_dtype),
            ops.shape(rotation[:, :1]),
        )
        parts = [ops.repeat(still, self.num_prefix_tokens, axis=1), rotation]
        parts.append(ops.repeat(still, num_others, axis=1))
        return ops.concatenate(parts, axis=1)

    def positions_of(self, grid_size):
        """Return the positions of a grid, of shape `(num_patches, hidden_dim)`."""
        if self.positions in FIXED:
            return ops.convert_to_tensor(
                sincos_positions(
                    self.grid_size,
                    self.hidden_dim,
                    grid_size,
                    columns_first=self.positions == "columns_first",
                    uniform_power=self.positions == "uniform_power",
                )
            )
        table = ops.convert_to_tensor(self.table)
        if grid_size == self.grid_size:
            return table
        antialias = self.positions == "learned_antialiased"
        table = ops.reshape(table, (*self.grid_size, self.hidden_dim))
        for sizes in zip(self.grid_size, grid_size, strict=True):
            matrix = ops.cast(bicubic_matrix(*sizes, antialias), table.dtype)
            # The axis in front goes behind the others, so that all have their turn.
            table = ops.tensordot(table, matrix, axes=[[0], [1]])
            table = ops.moveaxis(table, -1, len(grid_size) - 1)
        return ops.reshape(table, (-1, self.hidden_dim))
