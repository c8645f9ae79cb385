"""Layout maps of weights that are split along one axis of a mesh."""

import keras

from keras_iwm.arguments import as_object


def layout_map_along(axis, device_mesh, layouts):
    """Make a layout map, if the mesh has the axis that it splits along.

    Args:
        axis: String, the name of the axis.
        device_mesh: `keras.distribution.DeviceMesh`, checked here.
        layouts: Dictionary from patterns of paths to layouts.

    Returns:
        A `keras.distribution.LayoutMap`.

    Raises:
        ValueError: If the mesh has no such axis.
    """
    as_object("device_mesh", device_mesh, ("axis_names", "shape"), "a DeviceMesh")
    if axis not in device_mesh.axis_names:
        raise ValueError(
            f'`device_mesh` must have an axis "{axis}". Received: axis_names='
            f"{tuple(device_mesh.axis_names)}. Name one of its axes so."
        )
    layout_map = keras.distribution.LayoutMap(device_mesh)
    for path, axes in layouts.items():
        layout_map[path] = axes
    return layout_map
