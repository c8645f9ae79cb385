"""What the pictures share: their figure, their fonts, and pixels ready to draw."""

import textwrap

import numpy as np

from keras_iwm.arguments import as_count, as_grid, as_value_range, shown
from keras_iwm.array_arguments import as_array

ACCENT = "#d1495b"
HIT = "#3f8f5f"
PALETTE = ("#2e6f95", ACCENT, HIT, "#e0a030", "#7d5ba6", "#6b6b6b")
_MOST_ROWS = 4  # More of them below each other are a strip that no page holds.
_SPACE = 0.1  # Between blocks of rows, as a part of a column.
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
            "Pictures need matplotlib: `pip install matplotlib`."
        ) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def row_blocks(count):
    """Returns how many blocks of rows stand side by side, and the rows of each."""
    blocks = -(-count // _MOST_ROWS)
    return blocks, -(-count // blocks)


def add_rows(figure, count, titles, widths=None):
    """Returns axes `(count, num_columns)`, in blocks side by side, under titles."""
    blocks, rows = row_blocks(count)
    widths = [1] * len(titles) if widths is None else list(widths)
    ratios = ([*widths, _SPACE] * blocks)[:-1]
    axes = figure.subplots(rows, len(ratios), squeeze=False, width_ratios=ratios)
    found, width = [], len(widths)
    for start in range(0, len(ratios), width + 1):
        for title, axis in zip(titles, axes[0, start : start + width], strict=True):
            axis.set_title(title, fontsize=TITLE_SIZE)
        found += list(axes[:, start : start + width])
        for axis in axes[:, start + width : start + width + 1].ravel():
            axis.remove()
    for axis in np.ravel(found[count:]):
        axis.remove()
    return found[:count]


def prepare_images(images, value_range, name="images", rgb_channels=(0, 1, 2)):
    """Returns images of any number of channels as RGB to be drawn.

    Args:
        images: Array or tensor `(n, height, width, num_channels)`.
        value_range: Pair of numbers, what is drawn black and white.
        name: String, the argument's name in messages.
        rgb_channels: Three integers, the channels drawn red, green and blue. Images
            with one channel are drawn gray whatever it says.

    Returns:
        Float32 NumPy array `(n, height, width, 3)` in [0, 1].
    """
    images = as_array(name, images).astype("float32")
    if images.ndim != 4 or images.size == 0 or not np.isfinite(images).all():
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, num_channels) and "
            f"at least one image, all of finite numbers. Received: shape {images.shape}"
        )
    images = images[..., list(check_rgb_channels(rgb_channels, images.shape[-1]))]
    low, high = as_value_range(value_range)
    return np.clip((images - low) / (high - low), 0.0, 1.0)


def check_rgb_channels(rgb_channels, num_channels):
    """Returns the three channels to draw, or raises if images do not have them."""
    if num_channels == 1:
        return (0, 0, 0)
    try:
        channels = tuple(as_count("rgb_channels", part, 0) for part in rgb_channels)
    except (TypeError, ValueError):
        channels = ()
    if len(channels) != 3 or max(channels) >= num_channels:
        raise ValueError(
            "`rgb_channels` must be three channels, drawn red, green and blue, from 0 "
            f"to {num_channels - 1} for images of {num_channels} channels. Received: "
            f"{shown(rgb_channels)}. The same one three times is drawn gray."
        )
    return channels


def as_grey(image):
    """Returns the lightness `(height, width, 1)` of a prepared image."""
    return image @ np.array([[0.299], [0.587], [0.114]], dtype=image.dtype)


def check_grid(grid_size, image_shape):
    """Returns rows and columns of patches, or raises if images do not divide so."""
    height, width = image_shape[1:3]
    grid_size = as_grid("grid_size", grid_size)
    if len(grid_size) != 2 or height % grid_size[0] or width % grid_size[1]:
        raise ValueError(
            "`grid_size` must divide the images' height and width. Received: "
            f"grid_size={grid_size} for images of {(height, width)}"
        )
    return grid_size


def hide_frame(axes):
    """Removes ticks and frame of axes that hold a picture or words."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def draw_neighbor(axes, image, found):
    """Draws a retrieved image, framed green if found, else in dashes of red.

    Returns the colour.
    """
    style = frame_style(found)
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(linewidth=2.5, **style)
    return style["color"]


def frame_style(found):
    """Returns colour and kind of the line around what was found, or was not.

    Those who do not tell green from red see the dashes.
    """
    if found:
        return {"color": HIT, "linestyle": "-"}
    # Ends as they are by default would fill the gaps.
    return {"color": ACCENT, "linestyle": (0, (2.5, 1.5)), "capstyle": "butt"}


def draw_words(axes, text):
    """Writes a text of some lines where other axes of the row hold a picture."""
    hide_frame(axes)
    axes.text(
        0.5, 0.5, text, ha="center", va="center", fontsize=TEXT_SIZE + 0.5,
        linespacing=1.6, transform=axes.transAxes,
    )  # fmt: skip


def rank_in_words(rank, bank_size):
    """Returns a caption such as `rank 3 of 256`."""
    return f"rank {rank:g} of {bank_size}"


def wrapped(name, width):
    """Returns a name with spaces for underscores, in lines of at most this width."""
    return textwrap.fill(str(name).replace("_", " "), width)
