"""Which weights tensor parallelism splits, and how."""

import keras

from keras_iwm.distribution.layout_map_along import layout_map_along

# Split by outputs, then by inputs, so that activations are summed twice a block.
_LAYOUTS = {
    r".*block_\d+/attention/query_key_value/kernel": (None, "model"),
    r".*block_\d+/attention/(query|key|value)_bias": ("model",),
    r".*block_\d+/attention/output_projection/kernel": ("model", None),
    r".*block_\d+/mlp_hidden/kernel": (None, "model"),
    r".*block_\d+/mlp_hidden/bias": ("model",),
    r".*block_\d+/mlp_output/kernel": ("model", None),
}


def tensor_parallel_layout(
    device_mesh: keras.distribution.DeviceMesh,
) -> keras.distribution.LayoutMap:
    """Make the layout map that splits the blocks of any of our models.

    For models too large for one device, on JAX. Attention and the MLP are split by
    their inner features, in encoder, target encoder and predictor alike, and the
    optimizer's slots like their weights. All else is held by every device.

    Args:
        device_mesh: `keras.distribution.DeviceMesh` with an axis `"model"`, over
            which weights are split, beside the one over which batches are.

    Returns:
        A `keras.distribution.LayoutMap`, for `keras.distribution.ModelParallel`.
        Set the distribution before the model is made or loaded. A model whose
        heads or MLP do not divide over the axis then raises a ValueError.

    Raises:
        ValueError: If the mesh has no axis `"model"`.

    Example:

    ```python
    # On two devices: (1, 2) and ["gpu:0", "gpu:1"].
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    layout_map = keras_iwm.distribution.tensor_parallel_layout(mesh)
    distribution = keras.distribution.ModelParallel(
        layout_map=layout_map, batch_dim_name="batch"
    )
    # keras.distribution.set_distribution(distribution), and then make the model.
    ```
    """
    return layout_map_along("model", device_mesh, _LAYOUTS)
