"""World models side by side: what each retrieves for the same requested change."""

from collections.abc import Mapping

import keras

from keras_iwm.arguments import shown
from keras_iwm.evaluation.bank_ranking import check_world_model
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    draw_neighbor,
    draw_words,
    hide_frame,
    new_figure,
    rank_in_words,
    wrapped,
)
from keras_iwm.visualization.retrieval_pictures import RetrievalPictures
from keras_iwm.visualization.slot_words import request_in_words


def plot_model_comparison(
    models: Mapping[str, keras.Model | WorldModelEvaluator],
    images: Array,
    bank: RetrievalBank | None = None,
    num_images: int = 6,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws what several world models retrieve for the same image and request.

    An equivariant model follows the request; an invariant one finds about the same
    image whatever was asked. One request a row: the image; the requested change in
    words; a column for each model with its nearest neighbour, framed green where it
    is the wanted target and dashed red where not, and the target's rank; the wanted
    target. `plot_retrieval` draws one model alone.

    Args:
        models: Dictionary from a name to a model, as `plot_retrieval` takes it. Its
            order is that of the columns.
        images: At least 2 images `(num_images, height, width, num_channels)`, of the
            size and in the value range of every model.
        bank: `RetrievalBank` whose slots every model has. Defaults to that of the
            first model, see `RetrievalBank.for_actions`.
        num_images: Positive integer, how many of the images to draw at most.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no model, or images, bank and channels do not fit one.

    Example:

    ```python
    from keras_iwm.visualization import plot_model_comparison

    from_preset = keras_iwm.models.ImageWorldModel.from_preset
    models = {
        "trained": from_preset("iwm_tiny_32"),
        "untrained": from_preset("iwm_tiny_32", load_weights=False),
    }
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    figure = plot_model_comparison(models, images, bank)
    figure.savefig("model_comparison.png")
    ```
    """
    if not isinstance(models, dict) or not models:
        raise ValueError(
            "`models` must be a dictionary from names to at least one model. Received: "
            f"{shown(models)}"
        )
    for name, model in models.items():
        check_world_model(f"models[{name!r}]", model)
    if bank is None:
        bank = RetrievalBank.for_actions(next(iter(models.values())).action_space)
    pictures = [
        RetrievalPictures(model, images, bank, rgb_channels)
        for model in models.values()
    ]
    first = pictures[0]
    rows = first.shown(num_images)

    columns = len(models) + 3
    ratio = first.model.image_size[0] / first.model.image_size[1]
    names = [wrapped(name, 22) for name in models]
    title_height = 0.25 + 0.17 * max(1 + name.count("\n") for name in names)
    figure = new_figure(1.95 * columns, (1.9 * ratio + 0.25) * len(rows) + title_height)
    axes = figure.subplots(
        len(rows), columns, squeeze=False, width_ratios=[1, 0.85] + [1] * (columns - 2)
    )
    titles = ["image", "requested change", *names, "target"]
    for title, axis in zip(titles, axes[0], strict=True):
        axis.set_title(title, fontsize=TITLE_SIZE)
    for index, row in zip(rows, axes, strict=True):
        found = [one.evaluator.retrieve(index) for one in pictures]
        parameters = found[0]["parameters"]
        wanted = first.most_changed(index, parameters)
        draw_words(row[1], request_in_words(first.shared, parameters[wanted]))
        row[1].set_box_aspect(ratio / 0.85)
        for one, entries, axis in zip(pictures, found, row[2:-1], strict=True):
            result = one.retrieval(index, entries, wanted)
            color = draw_neighbor(axis, result["retrieved"], result["is_hit"])
            axis.set_xlabel(
                rank_in_words(result["rank"], bank.size),
                fontsize=TEXT_SIZE,
                color=color,
            )
        target = first.views(index, parameters[[wanted]])[0]
        for axis, image in ((row[0], first.image(index)), (row[-1], target)):
            axis.imshow(image)
            hide_frame(axis)
    return figure
