"""Whether the devices can split a model."""

import keras


def check_splits(name, width, num_heads, mlp_dim):
    """Refuse a stack of blocks that the current distribution cannot split.

    Args:
        name: String, the name of the model, with which its weights' paths begin.
        width: Pair of the argument that says the features of the blocks, and theirs.
        num_heads: Integer, attention heads of each block.
        mlp_dim: Integer, hidden features of each block's MLP.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return
    sizes = (
        (*width, "attention/query_key_value/kernel", 0),
        ("num_heads", num_heads, "attention/query_key_value/kernel", 1),
        ("mlp_dim", mlp_dim, "mlp_hidden/kernel", 1),
        ("mlp_dim", mlp_dim, "mlp_output/kernel", 0),
    )
    for argument, size, path, axis in sizes:
        layout = distribution.get_tensor_layout(f"{name}/block_00/{path}")
        if layout is None or layout.axes[axis] is None:
            continue
        mesh = layout.device_mesh
        count = mesh.shape[mesh.axis_names.index(layout.axes[axis])]
        if size % count:
            raise ValueError(
                f"`{argument}` must be a multiple of the {count} devices of the axis "
                f"{layout.axes[axis]!r} that split it. Received: {argument}={size} in "
                f"{name!r}. Use a mesh whose axis divides it, or another size."
            )
