"""Where an attentive head looks."""

import numpy as np

from keras_iwm.arguments import as_boolean
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, ValueRange
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    add_rows,
    as_grey,
    check_grid,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
)

_FADED = 0.45  # What is left of the contrast of the grey image below.
_STRONGEST = 0.85  # How much of the picture is heat at the map's peak.
_SCALE_ASPECT = 14  # Height of the scale over its width.


def plot_attention(
    images: Array,
    attention: Array,
    grid_size: tuple[int, int],
    value_range: ValueRange = (0, 255),
    each_head: bool = False,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws the attention over an image's patches as heat on the faded image.

    One image a row: the image, the mean over all heads and, if asked for, each head.
    All maps have one scale, in multiples of attention spread evenly: from no heat at
    weight 0 to the strongest at the highest peak of them all. So a map without a
    strong spot is one that looks everywhere. Below each stands its own peak.

    Args:
        images: `(num_images, height, width, num_channels)`.
        attention: `(num_images, num_heads, num_patches)` weights, 0 or more, such as
            the softmax of an attentive head gives for its one query; or
            `(num_images, num_patches)`.
        grid_size: Tuple `(height, width)`, patches in an image.
        value_range: Tuple `(low, high)` of the pixels.
        each_head: Boolean, whether to draw each head beside their mean.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If images, weights and grid do not fit together, or a weight is
            negative.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_attention

    images = np.random.uniform(0, 255, (2, 32, 32, 3))
    attention = np.random.dirichlet(np.ones(16), size=(2, 3))
    figure = plot_attention(images, attention, grid_size=(4, 4), each_head=True)
    figure.savefig("attention.png")
    ```
    """
    images = prepare_images(images, value_range, rgb_channels=rgb_channels)
    grid_size = check_grid(grid_size, images.shape)
    each_head = as_boolean("each_head", each_head)
    attention = as_array("attention", attention).astype("float64")
    num_patches = grid_size[0] * grid_size[1]
    if (
        attention.ndim not in (2, 3)
        or len(attention) != len(images)
        or attention.shape[-1] != num_patches
    ):
        raise ValueError(
            f"`attention` must have shape ({len(images)}, num_heads, {num_patches}) or "
            f"({len(images)}, {num_patches}), for these images and this grid. "
            f"Received: {attention.shape}"
        )
    if not np.all(attention >= 0):
        raise ValueError(
            "`attention` must be weights of 0 or more: pass the softmax, not its "
            f"logits. Received: smallest {attention.min():g}"
        )
    if each_head and attention.ndim == 2:
        raise ValueError(
            "`each_head=True` needs `attention` of each head, of shape (num_images, "
            f"num_heads, num_patches). Received: {attention.shape}"
        )
    heads = attention[:, None] if attention.ndim == 2 else attention
    maps = heads.mean(axis=1, keepdims=True)
    titles = ["attention" if heads.shape[1] == 1 else "mean over heads"]
    if each_head:
        maps = np.concatenate([maps, heads], axis=1)
        titles += [f"head {head}" for head in range(1, heads.shape[1] + 1)]

    # A head may look nowhere, where its patches are masked.
    maps = maps / np.maximum(maps.mean(axis=-1, keepdims=True), 1e-30)
    highest = max(maps.max(), 1.0)
    blocks, rows = row_blocks(len(images))
    ratio = images.shape[1] / images.shape[2]
    width = 1.8 * (1 + len(titles)) * blocks + 0.6
    figure = new_figure(width, (1.75 * ratio + 0.25) * rows + 0.3)
    axes = add_rows(figure, len(images), ["image", *titles])
    for row, image, in_row in zip(axes, images, maps, strict=True):
        row[0].imshow(image)
        hide_frame(row[0])
        for axis, weights in zip(row[1:], in_row, strict=True):
            heat = weights.reshape(grid_size) / highest
            axis.imshow(_heat_picture(image, heat))
            hide_frame(axis)
            axis.set_xlabel(f"peak {weights.max():.1f} × even", fontsize=TEXT_SIZE)
    _draw_scale(figure, axes, rows, highest)
    return figure


def _heat_picture(image, heat):
    """Returns the faded grey image `(height, width, 3)` with heat in [0, 1] on it."""
    faded = 1.0 - _FADED * (1.0 - as_grey(image))
    size = (image.shape[0] // heat.shape[0], image.shape[1] // heat.shape[1])
    return _lay_heat_on(faded, np.kron(heat, np.ones(size)))


def _lay_heat_on(picture, heat):
    """Returns a picture with the colours of heat over it, the more the hotter."""
    from matplotlib import colormaps

    amount = _STRONGEST * np.sqrt(heat[..., None])
    return (1.0 - amount) * picture + amount * colormaps["YlOrRd"](heat)[..., :3]


def _draw_scale(figure, axes, rows, highest):
    """Draws the colours of heat, as they are on white, in multiples of even."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    colors = ListedColormap(_lay_heat_on(1.0, np.linspace(0, 1, 256)))
    bar = figure.colorbar(
        ScalarMappable(cmap=colors), ax=list(np.ravel(axes)), aspect=_SCALE_ASPECT,
        shrink=0.8 / rows, anchor=(0, 1), pad=0.01,
    )  # fmt: skip
    ticks, labels = [0, 1], ["0", f"{highest:.1f} ×"]
    if highest > 1.2:  # Else both would stand in one place.
        ticks, labels = [0, 1 / highest, 1], ["0", "even", f"{highest:.1f} ×"]
    bar.set_ticks(ticks, labels=labels)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1, length=0)
    bar.outline.set_visible(False)
