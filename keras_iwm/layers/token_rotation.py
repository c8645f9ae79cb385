"""How attention turns the tokens of a sequence."""

from keras import ops

from keras_iwm.layers.rotary_positions import rotary_positions

ROTARY = ("rotary", "rotary_tiled")


def token_rotation(positions, grid_size, head_dim, patch_ids, dtype, before=0, after=0):
    """Return the rotation of a sequence of patches and of tokens beside them.

    Args:
        positions: String, what an encoder or a predictor has as `positions`.
        grid_size: Tuple of integers, the grid on which the patches stand.
        head_dim: Integer, features of an attention head.
        patch_ids: Integer tensor of shape `(batch_size, num_patches)`, or `None` for
            all patches in their order.
        dtype: Dtype of the tokens.
        before: Integer, tokens in front that stand nowhere and are not turned.
        after: Integer, such tokens behind.

    Returns:
        Tensor of shape `(batch_size or 1, num_tokens, 2, head_dim)`, or `None` if
        positions are not rotary.
    """
    if positions not in ROTARY:
        return None
    table = rotary_positions(grid_size, head_dim, tiled=positions == "rotary_tiled")
    table = ops.convert_to_tensor(table, dtype=dtype)
    rotation = table[None] if patch_ids is None else ops.take(table, patch_ids, axis=0)
    # The first patch is at the origin, where nothing is turned.
    still = ops.broadcast_to(table[:1], (ops.shape(rotation)[0], 1, 2, head_dim))
    parts = [ops.repeat(still, before, axis=1), rotation]
    parts.append(ops.repeat(still, after, axis=1))
    return ops.concatenate(parts, axis=1) if before or after else rotation
