"""What the pictures share: their figure, their fonts, and pixels ready to draw."""

import textwrap

import keras
import numpy as np

ACCENT = "#d1495b"
HIT = "#3f8f5f"
PALETTE = ("#2e6f95", ACCENT, HIT, "#e0a030", "#7d5ba6", "#6b6b6b")
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


def as_grey(image):
    """Returns the lightness `(height, width, 1)` of a prepared image."""
    return image @ np.array([[0.299], [0.587], [0.114]], dtype=image.dtype)


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


def entry_of(name, dictionary, key, keys_name):
    """Returns the entry of an argument that is a dictionary, or says what it lacks."""
    if key not in dictionary:
        raise ValueError(
            f"`{name}` must have an entry for each of `{keys_name}`. Received no "
            f"{key!r}, but {', '.join(map(repr, dictionary)) or 'nothing'}"
        )
    return dictionary[key]


def draw_neighbor(axes, image, found):
    """Draws a retrieved image, framed green if found, else red; returns that colour."""
    color = HIT if found else ACCENT
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=color, linewidth=2.5)
    return color


def draw_words(axes, text):
    """Writes a text of some lines where other axes of the row hold a picture."""
    hide_frame(axes)
    axes.text(
        0.5, 0.5, text, ha="center", va="center", fontsize=TEXT_SIZE + 0.5,
        linespacing=1.6, transform=axes.transAxes,
    )  # fmt: skip


def rank_in_words(rank, bank_size=None):
    """Returns a caption such as `rank 3 of 256`."""
    return f"rank {rank:g}" + ("" if bank_size is None else f" of {bank_size}")


def same_pixels(one, other):
    """Returns whether two prepared images differ by less than half a level of 255."""
    return bool(np.abs(one - other).max() < 0.5 / 255)


def wrapped(name, width):
    """Returns a name with spaces for underscores, in lines of at most this width."""
    return textwrap.fill(str(name).replace("_", " "), width)
