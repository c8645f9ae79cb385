"""One image under every action: what is retrieved as a slot goes through its range."""

import keras
import numpy as np

from keras_iwm.visualization.figure import (
    ACCENT,
    HIT,
    TEXT_SIZE,
    TITLE_SIZE,
    entry_of,
    hide_frame,
    new_figure,
    prepare_images,
    same_pixels,
    wrapped,
)
from keras_iwm.visualization.slot_words import error_in_words, value_in_words

_GAP = 0.07  # Between neighbouring images, as a part of their width.
_CELL = 0.8  # Width of one image in inches.


def plot_action_sweep(
    image,
    retrieved,
    targets,
    slot_names,
    values=None,
    errors=None,
    value_range=(0, 255),
):
    """Draws what a model retrieves for one image as each slot sweeps its range.

    The picture that image world models are known by (arXiv 2403.00504). One block
    of two rows for each slot: the wanted targets from one end of the slot to the
    other, and below each the nearest neighbour of the prediction, framed green where
    it is the wanted target and red where not. `RetrievalBank.slot_parameters` gives
    the parameters of such a sweep.

    Args:
        image: The image the model saw, `(height, width, 3)`.
        retrieved: Dictionary from a slot to the nearest neighbours
            `(num_values, height, width, 3)`.
        targets: Dictionary from a slot to the wanted targets, of the same shapes.
        slot_names: The slots to draw, in this order, such as `("brightness", "hue")`.
        values: Optional dictionary from a slot to `(num_values,)` wanted values, to
            be written above; those of a `ColorJitter` as factors and turns.
        errors: Optional dictionary from a slot to `(num_values,)` differences between
            the retrieved and the wanted value, to be written below; 0 is a hit. By
            default a hit is an image equal to its target.
        value_range: Tuple `(low, high)` of the pixels.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If a slot is missing or the shapes do not fit together.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_action_sweep

    image = np.random.uniform(0, 200, (32, 32, 3))
    factors = np.linspace(0.8, 1.2, 5)
    targets = {"brightness": image * factors[:, None, None, None]}
    retrieved = {"brightness": targets["brightness"][[0, 1, 1, 3, 4]]}
    figure = plot_action_sweep(
        image, retrieved, targets, ["brightness"], values={"brightness": factors}
    )
    figure.savefig("action_sweep.png")
    ```
    """
    image = np.asarray(keras.ops.convert_to_numpy(image))
    if image.ndim != 3:
        raise ValueError(
            "`image` must be one image of shape (height, width, 3). Received: shape "
            f"{image.shape}"
        )
    image = prepare_images(image[None], value_range, "image")[0]
    if isinstance(slot_names, str) or len(slot_names) == 0:
        raise ValueError(
            "`slot_names` must be a list of at least one slot. Received: "
            f"{slot_names!r}"
        )
    blocks = [
        _prepare_slot(slot, image, retrieved, targets, values, errors, value_range)
        for slot in slot_names
    ]

    # Fewer than three images would leave no room for the slot's name.
    columns = max(3, *(len(block["targets"]) for block in blocks))
    ratio = image.shape[0] / image.shape[1]
    block_height = _CELL * (2 * ratio + _GAP) + 0.5
    block_height += 0.15 * (errors is not None)
    # The image is as high as a block of two rows.
    widths = [2 + _GAP / ratio, columns * (1 + _GAP) - _GAP]
    figure = new_figure(_CELL * sum(widths) + 0.85, block_height * len(blocks))
    grid = figure.add_gridspec(len(blocks), 2, width_ratios=widths)
    axis = figure.add_subplot(grid[0, 0], anchor="N")
    axis.imshow(image)
    axis.set_title("image", fontsize=TITLE_SIZE)
    hide_frame(axis)
    for row, (slot, block) in enumerate(zip(slot_names, blocks, strict=True)):
        axis = figure.add_subplot(grid[row, 1], anchor="NW")
        _draw_slot(axis, slot, block, ratio, columns)
    return figure


def _prepare_slot(slot, image, retrieved, targets, values, errors, value_range):
    """Returns the checked arrays of one slot by name."""
    block = {"values": None, "errors": None}
    for name, images in (("retrieved", retrieved), ("targets", targets)):
        pixels = prepare_images(
            entry_of(name, images, slot, "slot_names"), value_range, f"{name}[{slot!r}]"
        )
        if pixels.shape[1:] != image.shape:
            raise ValueError(
                f"`{name}[{slot!r}]` must hold images of the shape of `image`, "
                f"{image.shape}. Received: {pixels.shape[1:]}"
            )
        block[name] = pixels
    num_values = len(block["targets"])
    if len(block["retrieved"]) != num_values:
        raise ValueError(
            f"`retrieved[{slot!r}]` must hold one image for each of the {num_values} "
            f"targets. Received: {len(block['retrieved'])}"
        )
    for name, numbers in (("values", values), ("errors", errors)):
        if numbers is None:
            continue
        numbers = entry_of(name, numbers, slot, "slot_names")
        numbers = np.asarray(keras.ops.convert_to_numpy(numbers))
        if numbers.shape != (num_values,):
            raise ValueError(
                f"`{name}[{slot!r}]` must have one number for each of the "
                f"{num_values} targets. Received: shape {numbers.shape}"
            )
        block[name] = numbers
    return block


def _draw_slot(axis, slot, block, ratio, columns):
    """Draws the targets of a slot in one row and what was retrieved below."""
    from matplotlib.patches import Rectangle

    captions = []
    for column, (target, neighbor) in enumerate(
        zip(block["targets"], block["retrieved"], strict=True)
    ):
        left, right = column * (1 + _GAP), column * (1 + _GAP) + 1
        top = ratio + _GAP
        axis.imshow(target, extent=(left, right, ratio, 0))
        axis.imshow(neighbor, extent=(left, right, top + ratio, top))
        if block["errors"] is None:
            found, caption = same_pixels(neighbor, target), ""
        else:
            error = float(block["errors"][column])
            found = abs(error) < 1e-6
            caption = "exact" if found else error_in_words(slot, error)
        captions.append(caption)
        axis.add_patch(
            Rectangle(
                (left, top), 1, ratio, fill=False, linewidth=2.2, clip_on=False,
                edgecolor=HIT if found else ACCENT,
            )
        )  # fmt: skip
    middles = [column * (1 + _GAP) + 0.5 for column in range(len(captions))]
    width = columns * (1 + _GAP) - _GAP
    axis.set(xlim=(0, width), ylim=(2 * ratio + _GAP, 0), aspect="equal")
    axis.spines[:].set_visible(False)
    axis.set_title(wrapped(slot, 10 * columns - 2), fontsize=TITLE_SIZE, loc="left")
    axis.set_yticks([ratio / 2, 1.5 * ratio + _GAP], ["target", "retrieved"])
    axis.set_xticks(middles, captions)
    axis.tick_params(labelsize=TEXT_SIZE - 1, length=0)
    above = axis.secondary_xaxis("top")
    above.spines[:].set_visible(False)
    if block["values"] is None:
        words = [""] * len(middles)
    else:
        words = [value_in_words(slot, value) for value in block["values"]]
    above.set_xticks(middles, words)
    above.tick_params(labelsize=TEXT_SIZE - 1, length=0)
