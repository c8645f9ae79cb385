"""Destructive operations undone: what is retrieved for a degraded source."""

import keras
import numpy as np

from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    draw_neighbor,
    entry_of,
    hide_frame,
    new_figure,
    prepare_images,
    rank_in_words,
    same_pixels,
    wrapped,
)

_COLUMNS = ("source", "retrieved", "target")


def plot_undo(
    images,
    degraded,
    retrieved,
    operation_names,
    ranks=None,
    bank_size=None,
    value_range=(0, 255),
):
    """Draws how well a model undoes grayscale, blur or solarization.

    One image a row; for each operation three columns: the degraded source, the
    nearest neighbour of the prediction, framed green where it is the wanted target
    and red where not, and that target, the image as it was. What an operation
    destroys cannot be known: of a grey source the colour has to be guessed.

    Args:
        images: The images as they were, `(num_images, height, width, 3)`.
        degraded: Dictionary from an operation to the sources that it made of the
            images, of the same shape.
        retrieved: Dictionary from an operation to the nearest neighbours of the
            predictions, of the same shape.
        operation_names: The operations to draw, in this order, such as
            `("grayscale", "gaussian_blur", "solarization")`.
        ranks: Optional dictionary from an operation to `(num_images,)` ranks of the
            wanted target in the bank, 1 the best. By default a neighbour is the
            wanted target if their pixels are equal.
        bank_size: Optional integer, the number of images in the bank, for the text.
        value_range: Tuple `(low, high)` of the pixels.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If an operation is missing or the shapes do not fit together.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_undo

    images = np.random.uniform(0, 255, (2, 32, 32, 3))
    grey = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    figure = plot_undo(
        images,
        degraded={"grayscale": grey},
        retrieved={"grayscale": images * 0.9},
        operation_names=["grayscale"],
        ranks={"grayscale": [2, 7]},
        bank_size=256,
    )
    figure.savefig("undo.png")
    ```
    """
    images = prepare_images(images, value_range)
    if isinstance(operation_names, str) or len(operation_names) == 0:
        raise ValueError(
            "`operation_names` must be a list of at least one operation. Received: "
            f"{operation_names!r}"
        )
    blocks = []
    for operation in operation_names:
        block = {}
        for name, pixels in (("degraded", degraded), ("retrieved", retrieved)):
            label = f"{name}[{operation!r}]"
            pixels = entry_of(name, pixels, operation, "operation_names")
            block[name] = prepare_images(pixels, value_range, label)
            if block[name].shape != images.shape:
                raise ValueError(
                    f"`{label}` must have the shape of `images`, {images.shape}. "
                    f"Received: {block[name].shape}"
                )
        if ranks is not None:
            found = entry_of("ranks", ranks, operation, "operation_names")
            block["ranks"] = np.asarray(keras.ops.convert_to_numpy(found))
            if block["ranks"].shape != (len(images),):
                raise ValueError(
                    f"`ranks[{operation!r}]` must have one rank for each of the "
                    f"{len(images)} images. Received: shape {block['ranks'].shape}"
                )
        blocks.append(block)

    rows, ratio = len(images), images.shape[1] / images.shape[2]
    row_height = 1.15 * ratio + (0.05 if ranks is None else 0.2)
    names = [wrapped(operation, 36) for operation in operation_names]
    title_height = 0.3 + 0.2 * max(1 + name.count("\n") for name in names)
    figure = new_figure(3.7 * len(blocks), row_height * rows + title_height)
    parts = figure.subfigures(1, len(blocks), squeeze=False, wspace=0.04)[0]
    for part, name, block in zip(parts, names, blocks, strict=True):
        part.suptitle(name, fontsize=TITLE_SIZE, weight="bold")
        axes = part.subplots(rows, 3, squeeze=False)
        for title, axis in zip(_COLUMNS, axes[0], strict=True):
            axis.set_title(title, fontsize=TITLE_SIZE)
        for row, (source, neighbor, target) in enumerate(
            zip(block["degraded"], block["retrieved"], images, strict=True)
        ):
            for column, image in ((0, source), (2, target)):
                axes[row, column].imshow(image)
                hide_frame(axes[row, column])
            if ranks is None:
                draw_neighbor(axes[row, 1], neighbor, same_pixels(neighbor, target))
                continue
            rank = block["ranks"][row]
            color = draw_neighbor(axes[row, 1], neighbor, rank == 1)
            axes[row, 1].set_xlabel(
                rank_in_words(rank, bank_size), fontsize=TEXT_SIZE, color=color
            )
    return figure
