"""Destructive operations undone: what is retrieved for a degraded source."""

import keras

from keras_iwm.evaluation.equivariance_evaluator import EquivarianceEvaluator
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    draw_neighbor,
    hide_frame,
    new_figure,
    rank_in_words,
    wrapped,
)
from keras_iwm.visualization.retrieval_pictures import RetrievalPictures

_COLUMNS = ("source", "retrieved", "target")


def plot_undo(
    model: keras.Model | EquivarianceEvaluator,
    images: Array | None = None,
    bank: RetrievalBank | None = None,
    num_images: int = 6,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws how well a model undoes grayscale, blur or solarization.

    One image a row; for each destructive operation of the model three columns: the
    degraded source, the nearest neighbour of the prediction, framed green where it is
    the wanted target and dashed red where not, with the target's rank, and that target,
    an entry of the image's bank that changes much. What an operation destroys cannot be
    known: of a gray source the colour has to be guessed.

    Args:
        model: As of `plot_retrieval`; an evaluator must be an
            `EquivarianceEvaluator`.
        images: See there.
        bank: See there.
        num_images: Positive integer, how many of the images to draw at most.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the model has no destructive operations, or images, bank and
            channels do not fit it.

    Example:

    ```python
    from keras_iwm.visualization import plot_undo

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    figure = plot_undo(model, images, bank)
    figure.savefig("undo.png")
    ```
    """
    pictures = RetrievalPictures(
        model, images, bank, rgb_channels, EquivarianceEvaluator
    )
    operations = pictures.evaluator.operation_names
    if not operations:
        raise ValueError(
            "`model` must have destructive operations to undo. Received a model with "
            f"{pictures.model.action_space.slots} only."
        )
    shown = pictures.shown(num_images)

    height, width = pictures.model.image_size
    names = [wrapped(operation, 36) for operation in operations]
    title_height = 0.3 + 0.2 * max(1 + name.count("\n") for name in names)
    row_height = 1.15 * height / width + 0.2
    figure = new_figure(3.7 * len(names), row_height * len(shown) + title_height)
    parts = figure.subfigures(1, len(names), squeeze=False, wspace=0.04)[0]
    axes = {}
    for part, name, operation in zip(parts, names, operations, strict=True):
        part.suptitle(name, fontsize=TITLE_SIZE, weight="bold")
        axes[operation] = part.subplots(len(shown), 3, squeeze=False)
        for title, axis in zip(_COLUMNS, axes[operation][0], strict=True):
            axis.set_title(title, fontsize=TITLE_SIZE)
    for index in shown:
        for operation, found in pictures.evaluator.undo(index).items():
            source, retrieved, target = axes[operation][index]
            wanted = pictures.most_changed(index, found["parameters"])
            result = pictures.retrieval(index, found, wanted)
            source.imshow(pictures.prepare(found["degraded"][None])[0])
            target.imshow(result["target"])
            hide_frame(source)
            hide_frame(target)
            color = draw_neighbor(retrieved, result["retrieved"], result["is_hit"])
            retrieved.set_xlabel(
                rank_in_words(result["rank"], pictures.bank_size),
                fontsize=TEXT_SIZE,
                color=color,
            )
    return figure
