"""How far apart two cameras are, in pixels of what they see."""

import numpy as np

from keras_iwm.arguments import as_size
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Size


def camera_distance(cameras: Array, others: Array, image_size: Size) -> np.ndarray:
    """Measure how far what one camera sees would move under another one.

    Each pixel of a frame shows a place of the photo, which another camera sees
    elsewhere. The mean distance over all pixels, in pixels of the frame, makes one
    number of pan, zoom and turn: 0 for the same camera.

    Args:
        cameras: Array of shape `(..., 4)`, as `MovingPhotos.camera_path` gives them:
            row and column of the frame's centre, log zoom, angle in radians.
        others: Array of the same shape; distances are measured in their frames.
        image_size: Integer or pair (height, width) of the frames.

    Returns:
        Float64 NumPy array of shape `(...)`.

    Raises:
        ValueError: If the arrays do not hold cameras, or not as many.

    Example:

    ```python
    camera = np.array([100.0, 100.0, 0.0, 0.0])
    moved = camera + [3.0, 4.0, 0.0, 0.0]
    keras_iwm.evaluation.camera_distance(camera, moved, image_size=64)  # 5.0
    ```
    """
    cameras, others = as_array("cameras", cameras), as_array("others", others)
    for name, array in (("cameras", cameras), ("others", others)):
        if array.shape[-1:] != (4,) or not np.isfinite(array).all():
            raise ValueError(
                f"`{name}` must be finite numbers of shape (..., 4). Received shape: "
                f"{array.shape}. `MovingPhotos.camera_path` makes them."
            )
    if cameras.shape != others.shape:
        raise ValueError(
            f"`others` must have the shape of `cameras`, {cameras.shape}. Received: "
            f"{others.shape}."
        )
    height, width = as_size("image_size", image_size)
    # Complex numbers turn and zoom: rows are their real part, columns the other one.
    down, right = np.arange(height) - (height - 1) / 2, np.arange(width)
    pixels = (down[:, None] + 1j * (right - (width - 1) / 2)).ravel()

    def seen(camera):
        centre = camera[..., :1] + 1j * camera[..., 1:2]
        return centre + np.exp(-camera[..., 2:3] + 1j * camera[..., 3:]) * pixels

    apart = np.abs(seen(cameras.astype("float64")) - seen(others.astype("float64")))
    return np.mean(apart, axis=-1) * np.exp(others[..., 2])
