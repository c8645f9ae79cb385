"""What the pictures share: their figure, their fonts, and pixels ready to draw."""

import keras
import numpy as np

ACCENT = "#d1495b"
PALETTE = ("#2e6f95", ACCENT, "#3f8f5f", "#e0a030", "#7d5ba6", "#6b6b6b")
TITLE_SIZE = 10
TEXT_SIZE = 8.5


def new_figure(width, height):
    """Returns an empty matplotlib figure of this size in inches.

    It belongs to no window and no pyplot state, so it works without a display and is
    freed like any other object. Notebooks show it, `figure.savefig(path)` saves it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: `pip install keras-iwm[visualization]`."
        ) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def prepare_images(images, value_range, name="images"):
    """Returns images `(n, height, width, 3)` as float32 in [0, 1]."""
    images = np.asarray(keras.ops.convert_to_numpy(images), dtype="float32")
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, 3) and at least "
            f"one image. Received: shape {images.shape}"
        )
    low, high = value_range
    return np.clip((images - low) / (high - low), 0.0, 1.0)


def check_grid(grid_size, image_shape):
    """Raises unless images of this shape divide into the grid of patches."""
    height, width = image_shape[1:3]
    if height % grid_size[0] or width % grid_size[1]:
        raise ValueError(
            "`grid_size` must divide the images' height and width. Received: "
            f"grid_size={tuple(grid_size)} for images of {(height, width)}"
        )


def hide_frame(axes):
    """Removes ticks and frame of axes that hold a picture or words."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
