"""Segmentation: what each pixel is and what it was taken for."""

import colorsys

import numpy as np

from keras_iwm.arguments import as_label, as_names
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, Names, ValueRange
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    add_rows,
    as_grey,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
    wrapped,
)

_OPACITY = 0.65  # How much of the picture is the class's colour.
_IGNORED = "#d9d9d9"
# The palette without its grey, then colours that look unlike those before.
_COLORS = (
    *("#2e6f95", "#d1495b", "#3f8f5f", "#e0a030", "#7d5ba6", "#1b1b1b"),
    *("#5cd6e0", "#f08cc8", "#a8d840", "#7a4a1e", "#1f3bd6", "#ff6a13"),
    *("#0b5345", "#c9b3f5", "#8c0f3c", "#f7e36b", "#00b894", "#b000d0"),
    *("#808a2a", "#f5b8a0"),
)


def plot_segmentation(
    images: Array,
    masks: Array,
    predictions: Array,
    class_names: Names | None = None,
    ignore_label: int | None = None,
    value_range: ValueRange = (0, 255),
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws images with the true and the predicted class of each pixel as colour.

    One image a row, three columns: the image, the truth and the prediction laid over
    it. Pixels to ignore are plain grey in both. A legend below names the classes that
    occur. A class has the same colour in every figure.

    Args:
        images: `(num_images, height, width, num_channels)`.
        masks: Integers `(num_images, height, width)`, the true classes from 0 on.
        predictions: Integers of the same shape, the predicted classes.
        class_names: Optional names of the classes, the first that of class 0; by
            default their numbers.
        ignore_label: Optional integer that `masks` hold where there is no truth.
        value_range: Tuple `(low, high)` of the pixels.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the shapes do not fit together, or a class is negative or has
            no name.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_segmentation

    images = np.random.uniform(0, 255, (2, 32, 32, 3))
    masks = np.zeros((2, 32, 32), "int32")
    masks[:, 8:24, 8:24] = 1
    masks[:, :, :2] = 255
    predictions = np.roll(masks == 1, 3, axis=1).astype("int32")
    figure = plot_segmentation(
        images, masks, predictions, class_names=["sky", "square"], ignore_label=255
    )
    figure.savefig("segmentation.png")
    ```
    """
    images = prepare_images(images, value_range, rgb_channels=rgb_channels)
    masks = _as_classes("masks", masks, images)
    predictions = _as_classes("predictions", predictions, images)
    ignore_label = as_label("ignore_label", ignore_label)
    ignored = np.zeros(masks.shape, dtype=bool)
    if ignore_label is not None:
        ignored = masks == ignore_label
    occurring = np.unique(np.concatenate([masks[~ignored], predictions[~ignored]]))
    if len(occurring) and occurring[0] < 0:
        raise ValueError(
            "`masks` and `predictions` must hold classes of 0 or more, apart from "
            f"`ignore_label` in `masks`. Received: {occurring[0]} with "
            f"ignore_label={ignore_label}"
        )
    if class_names is not None:
        class_names = as_names("class_names", class_names)
    if class_names is None:
        names = [f"class {label}" for label in occurring]
    elif len(occurring) and occurring[-1] >= len(class_names):
        raise ValueError(
            f"`class_names` must name all classes that occur, up to {occurring[-1]}. "
            f"Received: {len(class_names)} names"
        )
    else:
        names = [wrapped(class_names[label], 28) for label in occurring]

    ratio = images.shape[1] / images.shape[2]
    blocks, rows = row_blocks(len(images))
    entries = dict(zip(names, map(_class_color, occurring), strict=True))
    if ignored.any():
        entries["ignored"] = _IGNORED
    longest = max(len(line) for name in entries for line in name.split("\n"))
    columns = max(1, min(len(entries), int(6.2 * blocks / (0.075 * longest + 0.5))))
    lines = -(-len(entries) // columns)
    legend_height = 0.19 * lines * (1 + max(name.count("\n") for name in entries))
    figure = new_figure(6.4 * blocks, 2.05 * ratio * rows + 0.5 + legend_height)
    axes = add_rows(figure, len(images), ("image", "truth", "prediction"))
    for row, image in enumerate(images):
        pictures = (
            image,
            _overlay(image, masks[row], ignored[row]),
            _overlay(image, predictions[row], ignored[row]),
        )
        for axis, picture in zip(axes[row], pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            hide_frame(axis)
    _draw_legend(figure, entries, columns)
    return figure


def _as_classes(name, labels, images):
    """Returns integer labels `(num_images, height, width)`, checked."""
    labels = as_array(name, labels)
    if labels.shape != images.shape[:3]:
        raise ValueError(
            f"`{name}` must have shape {images.shape[:3]}, one class for each pixel of "
            f"`images`. Received: {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be integers: pass classes, not scores. Received: "
            f"{labels.dtype}"
        )
    return labels.astype("int64")


def _class_color(label):
    """Returns the colour of a class as a hexadecimal string."""
    if label < len(_COLORS):
        return _COLORS[label]
    # Steps of the golden ratio never meet a hue again.
    hue = label * 0.6180339887 % 1.0
    color = colorsys.hls_to_rgb(hue, (0.3, 0.55, 0.75)[label % 3], 0.7)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in color)


def _overlay(image, labels, ignored):
    """Returns an image with the colours of its labels over it."""
    from matplotlib.colors import to_rgb

    picture = np.empty_like(image)
    # On a grey image the classes' colours stay what they are in the legend.
    grey = as_grey(image)
    for label in np.unique(labels[~ignored]):
        pixels = labels == label
        color = np.array(to_rgb(_class_color(label)), dtype=image.dtype)
        picture[pixels] = (1.0 - _OPACITY) * grey[pixels] + _OPACITY * color
    picture[ignored] = to_rgb(_IGNORED)
    return picture


def _draw_legend(figure, entries, columns):
    """Draws one named patch of colour for each entry, below the pictures."""
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(color=color, label=name) for name, color in entries.items()],
        loc="outside lower center",
        ncols=columns,
        fontsize=TEXT_SIZE,
        frameon=False,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.2,
    )
