"""Which weights are split over the devices that share a batch."""

import keras

from keras_iwm.distribution.layout_map_along import layout_map_along

# By inputs, whose number is a multiple of what heads and MLP need anyway.
_SPLIT = ("batch", None)
_LAYOUTS = {
    r".*block_\d+/attention/(query_key_value|output_projection)/kernel": _SPLIT,
    r".*block_\d+/mlp_(hidden|output)/kernel": _SPLIT,
}


def sharded_state_layout(
    device_mesh: keras.distribution.DeviceMesh,
) -> keras.distribution.LayoutMap:
    """Make the layout map that leaves each device a part of the state.

    With data parallelism every device holds weights, teacher and the optimizer's
    slots, and most memory goes there once a model is large and a device's share of the
    batch small. Here the kernels of all blocks, which are most of the weights, are
    split over the devices of the batch, in student, predictor, teacher and slots
    alike. XLA gathers each kernel before a block needs it, and spreads its gradient
    behind: the same numbers as with data parallelism, for more exchange.

    On JAX. Set the distribution before the model is made or loaded. A model whose
    `hidden_dim` or `mlp_dim` does not divide over the devices then raises a
    ValueError. `tensor_parallel_layout` is for models whose activations are too large.

    Args:
        device_mesh: `keras.distribution.DeviceMesh` with an axis `"batch"`, over which
            both batches and weights are split.

    Returns:
        A `keras.distribution.LayoutMap`, for `keras.distribution.ModelParallel`.

    Raises:
        ValueError: If the mesh has no axis `"batch"`.

    Example:

    ```python
    # On eight devices: (8,) and keras.distribution.list_devices().
    mesh = keras.distribution.DeviceMesh((1,), ("batch",), ["cpu:0"])
    layout_map = keras_iwm.distribution.sharded_state_layout(mesh)
    distribution = keras.distribution.ModelParallel(
        layout_map=layout_map, batch_dim_name="batch"
    )
    # keras.distribution.set_distribution(distribution), and then make the model.
    ```
    """
    return layout_map_along("batch", device_mesh, _LAYOUTS)
