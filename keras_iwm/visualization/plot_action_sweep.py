"""One image under every action: what is retrieved as a slot goes through its range."""

import keras
import numpy as np

from keras_iwm.arguments import as_count, as_names
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.type_aliases import Array, Figure, Names
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    frame_style,
    hide_frame,
    new_figure,
    wrapped,
)
from keras_iwm.visualization.retrieval_pictures import RetrievalPictures
from keras_iwm.visualization.slot_words import error_in_words, value_in_words

_GAP = 0.07  # Between neighbouring images, as a part of their width.
_CELL = 0.8  # Width of one image in inches.
_MOST_BLOCKS = 6  # Below each other; more stand side by side.


def plot_action_sweep(
    model: keras.Model | WorldModelEvaluator,
    images: Array | None = None,
    bank: RetrievalBank | None = None,
    index: int = 0,
    slots: Names | None = None,
    num_values: int = 9,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws what a model retrieves for one image as each slot sweeps its range.

    The picture that image world models are known by (arXiv 2403.00504). One block
    of two rows for each slot: the wanted targets from one end of the slot to the
    other with their values, and below each the nearest neighbour of the prediction
    among 33 values of the slot (or as many as it has), framed green where it is the
    wanted target and dashed red where not, with how far off it is. Changes of colour
    jitter are written as such; other slots as the numbers they are.

    Args:
        model: As of `plot_retrieval`, a model or an evaluator.
        images: See there.
        bank: See there; its operations give the slots and their ranges.
        index: Integer, which of the images to draw.
        slots: Names of the slots to draw, in this order, such as
            `("brightness", "hue")`. Defaults to all whose range is not 0.
        num_values: Positive integer, how many values of a slot to draw.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no such image or slot, or images, bank and channels do
            not fit the model.

    Example:

    ```python
    from keras_iwm.visualization import plot_action_sweep

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    figure = plot_action_sweep(model, images, slots=["brightness"], num_values=5)
    figure.savefig("action_sweep.png")
    ```
    """
    pictures = RetrievalPictures(model, images, bank, rgb_channels)
    possible = pictures.evaluator.slots
    slots = possible if slots is None else slots
    names = as_names("slots", slots)
    if not names or not set(names) <= set(possible):
        raise ValueError(
            f"`slots` must be a list of some of {possible}. Received: {slots!r}"
        )
    num_values = as_count("num_values", num_values)
    index = as_count("index", index, 0)
    if index >= len(pictures.evaluator.images):
        raise ValueError(
            f"`index` must be one of the {len(pictures.evaluator.images)} images, "
            f"counted from 0. Received: {index}"
        )
    image = pictures.image(index)
    blocks = [_sweep(pictures, index, slot, num_values) for slot in slots]

    # Fewer than three images would leave no room for the slot's name.
    columns = max(3, *(len(block["targets"]) for block in blocks))
    ratio = image.shape[0] / image.shape[1]
    block_height = _CELL * (2 * ratio + _GAP) + 0.65
    # The image is as high as a block of two rows.
    beside = -(-len(blocks) // _MOST_BLOCKS)
    rows = -(-len(blocks) // beside)
    widths = [2 + _GAP / ratio, *[columns * (1 + _GAP) - _GAP] * beside]
    figure = new_figure(_CELL * sum(widths) + 0.85 * beside, block_height * rows)
    grid = figure.add_gridspec(rows, 1 + beside, width_ratios=widths)
    axis = figure.add_subplot(grid[0, 0], anchor="N")
    axis.imshow(image)
    axis.set_title("image", fontsize=TITLE_SIZE)
    hide_frame(axis)
    for number, (slot, block) in enumerate(zip(slots, blocks, strict=True)):
        column, row = divmod(number, rows)
        axis = figure.add_subplot(grid[row, 1 + column], anchor="NW")
        _draw_slot(axis, slot, block, ratio, columns)
    return figure


def _sweep(pictures, index, slot, num_values):
    """Returns images, values and errors of some of a slot's values, evenly spaced."""
    found = pictures.evaluator.sweep(index, slot)
    values, last = found["values"], len(found["values"]) - 1
    shown = np.linspace(0, last, min(num_values, last + 1)).astype(int)
    nearest = found["nearest"][shown]
    return {
        "targets": pictures.views(index, found["parameters"][shown]),
        "retrieved": pictures.views(index, found["parameters"][nearest]),
        "values": values[shown],
        "errors": values[nearest] - values[shown],
    }


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
        error = float(block["errors"][column])
        found = error == 0
        captions.append("exact" if found else error_in_words(slot, error))
        axis.add_patch(
            Rectangle(
                (left, top), 1, ratio, fill=False, linewidth=2.2, clip_on=False,
                **frame_style(found),
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
    above.set_xticks(
        middles, [value_in_words(slot, value) for value in block["values"]]
    )
    above.tick_params(labelsize=TEXT_SIZE - 1, length=0)
