"""One image whose latents are moved: what the predictions are taken for."""

from keras_iwm.arguments import as_count, as_names, as_object
from keras_iwm.evaluation.intervention_evaluator import InterventionEvaluator
from keras_iwm.type_aliases import Figure, Names
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    frame_style,
    new_figure,
    prepare_images,
    wrapped,
)

_CELL = 0.62  # Width of one image in inches.
_GAP = 0.08  # Between neighbouring images, as a part of their width.
_ROWS = {"wanted": "changed", "told": "told", "moved": "moved"}


def plot_moved_latents(
    evaluator: InterventionEvaluator,
    index: int = 0,
    slots: Names | None = None,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws the images that predictions are nearest to as latents are moved.

    One block of three rows for each slot, from beyond the one end of its range, -1,
    to beyond the other, 1: the image under the slot; what is retrieved where the
    predictor is told the action; and what is where it is told nothing and the latents
    are moved along the slot's direction instead. It is looked for among the images of
    the first row and the unchanged one; framed green where it is the wanted one, dashed
    red where not.

    Args:
        evaluator: `InterventionEvaluator`.
        index: Integer, which of its images to draw.
        slots: Names of the slots to draw, in this order. Defaults to all.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no such image, slot or channel.

    Example:

    ```python
    from keras_iwm.visualization import plot_moved_latents

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.InterventionEvaluator(
        model, images[:4], images[4:], num_pairs=32
    )
    figure = plot_moved_latents(evaluator, slots=["brightness"])
    figure.savefig("moved_latents.png")
    ```
    """
    needed = ("retrieve", "slots", "places", "images_of")
    as_object("evaluator", evaluator, needed, "an InterventionEvaluator")
    index = as_count("index", index, 0, len(evaluator.changes) - 1)
    slots = evaluator.slots if slots is None else as_names("slots", slots)
    if not slots or not set(slots) <= set(evaluator.slots):
        raise ValueError(
            f"`slots` must be a list of some of {evaluator.slots}. Received: {slots!r}."
        )
    images = prepare_images(
        evaluator.images_of(index),
        evaluator.model.value_range,
        rgb_channels=rgb_channels,
    )
    ratio, columns = images.shape[1] / images.shape[2], len(evaluator.places)
    height = len(_ROWS) * (ratio + _GAP) * _CELL + 0.6
    figure = new_figure(_CELL * columns * (1 + _GAP) + 0.9, height * len(slots))
    axes = figure.subplots(len(slots), 1, squeeze=False)[:, 0]
    for axis, slot in zip(axes, slots, strict=True):
        found = evaluator.retrieve(index, slot)
        _draw_slot(axis, slot, found, images, ratio, evaluator.places)
    return figure


def _draw_slot(axis, slot, found, images, ratio, places):
    """Draws a slot's images, and those that are retrieved below."""
    from matplotlib.patches import Rectangle

    lefts = [column * (1 + _GAP) for column in range(len(places))]
    tops = [row * (ratio + _GAP) for row in range(len(_ROWS))]
    for name, top in zip(_ROWS, tops, strict=True):
        for left, entry, wanted in zip(
            lefts, found[name], found["wanted"], strict=True
        ):
            axis.imshow(images[entry], extent=(left, left + 1, top + ratio, top))
            if name != "wanted":
                axis.add_patch(
                    Rectangle(
                        (left, top), 1, ratio, fill=False, linewidth=1.8,
                        clip_on=False, **frame_style(entry == wanted),
                    )
                )  # fmt: skip
    axis.set(xlim=(0, lefts[-1] + 1), ylim=(tops[-1] + ratio, 0), aspect="equal")
    axis.spines[:].set_visible(False)
    axis.set_title(wrapped(slot, 60), fontsize=TITLE_SIZE, loc="left")
    axis.set_xticks([left + 0.5 for left in lefts], [f"{place:g}" for place in places])
    axis.set_yticks([top + ratio / 2 for top in tops], _ROWS.values())
    axis.tick_params(labelsize=TEXT_SIZE, length=0)
