"""What a contrastive model is given: two views of each image."""

from collections.abc import Mapping

from keras_iwm.arguments import as_count, shown
from keras_iwm.type_aliases import Array, Figure, ValueRange
from keras_iwm.views.two_view_generator import TWO_VIEW_KEYS
from keras_iwm.visualization.figure import (
    add_rows,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
)


def plot_view_pairs(
    views: Mapping[str, Array],
    value_range: ValueRange = (0, 255),
    num_images: int = 6,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws the two views of each image side by side, one image a row.

    Use it to check crops and operations before a run: what is left of an image in both
    views is what a contrastive model can learn to recognise.

    Args:
        views: Dictionary as a `TwoViewGenerator` returns it: `"first"` and `"second"`
            `(batch_size, height, width, num_channels)`.
        value_range: Tuple `(low, high)` of the pixels.
        num_images: Positive integer, how many images of the batch to draw.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there are no such views.

    Example:

    ```python
    views = keras_iwm.views.TwoViewGenerator(image_size=32, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), "uint8")
    figure = keras_iwm.visualization.plot_view_pairs(views(images))
    figure.savefig("view_pairs.png")
    ```
    """
    num_images = as_count("num_images", num_images)
    if not isinstance(views, dict) or not set(TWO_VIEW_KEYS) <= set(views):
        raise ValueError(
            f"`views` must be a dictionary of {TWO_VIEW_KEYS}, as a TwoViewGenerator "
            f"makes. Received: {shown(views)}."
        )
    pictures = [
        prepare_images(views[key], value_range, key, rgb_channels)[:num_images]
        for key in TWO_VIEW_KEYS
    ]
    beside, rows = row_blocks(len(pictures[0]))
    figure = new_figure(2.0 * 2 * beside, 2.05 * rows + 0.3)
    titles = [f"{key} view" for key in TWO_VIEW_KEYS]
    for axes, pair in zip(
        add_rows(figure, len(pictures[0]), titles),
        zip(*pictures, strict=True),
        strict=True,
    ):
        for axis, picture in zip(axes, pair, strict=True):
            axis.imshow(picture)
            hide_frame(axis)
    return figure
