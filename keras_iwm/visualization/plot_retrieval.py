"""What the world model imagines, shown by what it retrieves."""

import keras

from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    add_rows,
    draw_neighbor,
    draw_words,
    hide_frame,
    new_figure,
    rank_in_words,
    row_blocks,
)
from keras_iwm.visualization.retrieval_pictures import RetrievalPictures
from keras_iwm.visualization.slot_words import request_in_words


def plot_retrieval(
    model: keras.Model | WorldModelEvaluator,
    images: Array | None = None,
    bank: RetrievalBank | None = None,
    num_images: int = 6,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws held-out images beside what the model finds when told a change.

    A world model predicts latents, not pixels, so what it imagines is shown by the
    bank image whose latents are nearest to the prediction. One image a row, four
    columns: the image; the requested change in words, one of those of its bank that
    change most; the nearest neighbour, framed green where it is the wanted target and
    dashed red where not; the wanted target and its rank. More than four images stand
    in blocks side by side.

    Args:
        model: `ImageWorldModel`, or another model that a `WorldModelEvaluator` takes;
            or such an evaluator, whose images and bank are drawn: nothing is compiled
            again.
        images: At least 2 images `(num_images, height, width, num_channels)` in the
            model's `value_range`; left out with an evaluator.
        bank: `RetrievalBank`, by default the model's, see `WorldModelEvaluator`; left
            out with an evaluator.
        num_images: Positive integer, how many of the images to draw at most.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the model has no shared operations, or images, bank and channels
            do not fit it.

    Example:

    ```python
    from keras_iwm.visualization import plot_retrieval

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    figure = plot_retrieval(model, images, bank)
    figure.savefig("retrieval.png")
    ```
    """
    pictures = RetrievalPictures(model, images, bank, rgb_channels)
    shown = pictures.shown(num_images)

    blocks, rows = row_blocks(len(shown))
    figure = new_figure(8.2 * blocks, 2.0 * rows + 0.45)
    titles = ("image", "requested change", "retrieved for the prediction", "target")
    axes = add_rows(figure, len(shown), titles, (1, 0.95, 1, 1))
    for index, row in zip(shown, axes, strict=True):
        found = pictures.evaluator.retrieve(index)
        wanted = pictures.most_changed(index, found["parameters"])
        result = pictures.retrieval(index, found, wanted)
        for axis, image in (
            (row[0], pictures.image(index)),
            (row[3], result["target"]),
        ):
            axis.imshow(image)
            hide_frame(axis)
        draw_words(
            row[1], request_in_words(pictures.shared, found["parameters"][wanted])
        )
        color = draw_neighbor(row[2], result["retrieved"], result["is_hit"])
        row[3].set_xlabel(
            rank_in_words(result["rank"], pictures.bank_size),
            fontsize=TEXT_SIZE,
            color=color,
        )
    return figure
