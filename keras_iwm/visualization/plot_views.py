"""What a model is given: the two views, the mask and the action."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_iwm.arguments import as_count, as_names, shown
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, Names, ValueRange
from keras_iwm.views.view_generator import VIEW_KEYS
from keras_iwm.visualization.figure import (
    ACCENT,
    PALETTE,
    TEXT_SIZE,
    add_rows,
    check_grid,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
)

_GREY = 0.85
_FADED = 0.25  # What is left of the contrast of target patches not predicted.


def plot_views(
    views: Mapping[str, Array],
    grid_size: tuple[int, int],
    value_range: ValueRange = (0, 255),
    num_images: int = 6,
    action_slots: Names | None = None,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws views as the model gets them, one image a row.

    Use it to check augmentation and masks before a run. Four columns: the source;
    its context patches, with all others light grey; the target, where the patches to
    predict are outlined (each block in its colour when blocks are predicted apart)
    and all others faded; the action, one bar for each slot.

    Args:
        views: Dictionary as a `ViewGenerator` returns it: `"source"` and `"target"`
            `(batch_size, height, width, num_channels)`, `"action"`
            `(batch_size, action_dim)`, `"context_ids"` `(batch_size, num_context)`,
            `"target_ids"` `(batch_size, num_targets)` or
            `(batch_size, num_blocks, num_targets)`.
        grid_size: Tuple `(height, width)`, patches in an image.
        value_range: Tuple `(low, high)` of the pixels.
        num_images: Positive integer, how many images of the batch to draw.
        action_slots: Optional names of the action's slots, as
            `ActionSpace.slots`; by default their numbers.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If images, grid and slots do not fit together.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_views

    views = {
        "source": np.random.uniform(0, 255, (2, 32, 32, 3)),
        "target": np.random.uniform(0, 255, (2, 32, 32, 3)),
        "action": np.array([[0.5, -0.2], [0.1, 1.0]]),
        "context_ids": np.array([[0, 1, 4], [2, 3, 7]]),
        "target_ids": np.array([[10, 11, 15], [8, 12, 13]]),
    }
    figure = plot_views(views, (4, 4), action_slots=("brightness", "grayscale"))
    figure.savefig("views.png")
    ```
    """
    num_images = as_count("num_images", num_images)
    if not isinstance(views, dict) or not set(VIEW_KEYS) <= set(views):
        raise ValueError(
            f"`views` must be a dictionary of {VIEW_KEYS}, as a ViewGenerator makes. "
            f"Received: {shown(views)}."
        )
    source, target = (
        prepare_images(views[name], value_range, name, rgb_channels)[:num_images]
        for name in ("source", "target")
    )
    grid_size = check_grid(grid_size, source.shape)
    action = as_array("views['action']", views["action"])
    if action_slots is None:
        action_slots = tuple(str(slot) for slot in range(action.shape[-1]))
    action_slots = as_names("action_slots", action_slots)
    if len(action_slots) != action.shape[-1]:
        raise ValueError(
            f"`action_slots` must name the {action.shape[-1]} slots of the action. "
            f"Received: {action_slots}"
        )
    context_ids = keras.ops.convert_to_numpy(views["context_ids"])
    target_ids = keras.ops.convert_to_numpy(views["target_ids"])
    # One block is the union of them all.
    blocks = target_ids[:, None] if target_ids.ndim == 2 else target_ids

    columns, (beside, rows) = 4 if len(action_slots) else 3, row_blocks(len(source))
    figure = new_figure((2.0 * 3 + 2.9 * (columns - 3)) * beside, 2.05 * rows + 0.3)
    titles = ("source", "context", "target, to predict", "action")
    axes = add_rows(figure, len(source), titles[:columns], (1, 1, 1, 1.15)[:columns])
    for row in range(len(source)):
        context = _patches_to_pixels(context_ids[row], grid_size, source.shape)
        predicted = _patches_to_pixels(blocks[row], grid_size, source.shape)
        faded = 1.0 - _FADED * (1.0 - target[row])
        pictures = (
            source[row],
            np.where(context, source[row], _GREY),
            np.where(predicted, target[row], faded),
        )
        for axis, picture in zip(axes[row], pictures, strict=False):
            axis.imshow(picture)
            hide_frame(axis)
        for block, color in zip(blocks[row], _block_colors(blocks[row]), strict=True):
            _outline(axes[row][2], block, grid_size, source.shape, color)
        if len(action_slots):
            _draw_action(axes[row][3], action[row], action_slots)
    return figure


def _patches_to_pixels(patch_ids, grid_size, image_shape):
    """Returns a boolean mask `(height, width, 1)` of the pixels of these patches."""
    mask = np.zeros(grid_size[0] * grid_size[1], dtype=bool)
    mask[np.ravel(patch_ids)] = True
    size = (image_shape[1] // grid_size[0], image_shape[2] // grid_size[1])
    return np.kron(mask.reshape(grid_size), np.ones(size, dtype=bool))[..., None]


def _block_colors(blocks):
    """Returns a colour for each block; one block alone has the accent colour."""
    if len(blocks) == 1:
        return [ACCENT]
    return [PALETTE[index % len(PALETTE)] for index in range(len(blocks))]


def _outline(axis, patch_ids, grid_size, image_shape, color):
    """Draws the border of the union of patches onto a picture."""
    from matplotlib.collections import LineCollection

    height = image_shape[1] // grid_size[0]
    width = image_shape[2] // grid_size[1]
    mask = np.zeros(grid_size, dtype=bool)
    mask.reshape(-1)[patch_ids] = True
    mask = np.pad(mask, 1)
    lines = []
    # A line runs wherever a patch and its neighbour differ; pixel centres are whole
    # numbers, so the first pixel begins at -0.5.
    for row, column in np.argwhere(mask[1:, 1:-1] != mask[:-1, 1:-1]):
        y, x = row * height - 0.5, column * width - 0.5
        lines.append([(x, y), (x + width, y)])
    for row, column in np.argwhere(mask[1:-1, 1:] != mask[1:-1, :-1]):
        y, x = row * height - 0.5, column * width - 0.5
        lines.append([(x, y), (x, y + height)])
    axis.add_collection(
        LineCollection(lines, colors=color, linewidths=1.8, clip_on=False)
    )


def _draw_action(axis, action, slots):
    """Draws one action as horizontal bars from -1 to 1, with its values."""
    positions = np.arange(len(slots))
    colors = [PALETTE[0] if value >= 0 else PALETTE[3] for value in action]
    axis.barh(positions, action, height=0.62, color=colors)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(len(slots) - 0.4, -0.6)
    axis.set_xticks([-1, 0, 1])
    axis.set_yticks(positions, [slot.replace("_", " ") for slot in slots])
    axis.tick_params(labelsize=TEXT_SIZE - 1, length=2)
    axis.spines[["top", "right"]].set_visible(False)
    for position, value in zip(positions, action, strict=True):
        text = f"{value:+.2f}" if value else "0"
        axis.text(1.1, position, text, va="center", fontsize=TEXT_SIZE - 1)
