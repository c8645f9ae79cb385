"""World models side by side: what each retrieves for the same requested change."""

import keras
import numpy as np

from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    draw_neighbor,
    draw_words,
    entry_of,
    hide_frame,
    new_figure,
    prepare_images,
    rank_in_words,
    wrapped,
)
from keras_iwm.visualization.slot_words import requests_in_words


def plot_model_comparison(
    clean, target, retrieved, requested, ranks, bank_size=None, value_range=(0, 255)
):
    """Draws what several world models retrieve for the same image and request.

    An equivariant model follows the request; an invariant one finds about the same
    image whatever was asked. One request a row: the image; the requested change in
    words; a column for each model with its nearest neighbour, framed green where it
    is the wanted target and red where not, and the target's rank; the wanted target.
    `plot_retrieval` draws one model alone.

    Args:
        clean: Images `(num_images, height, width, 3)` as the models saw them.
        target: The wanted targets, images of the same shape.
        retrieved: Dictionary from a model's name to the nearest neighbours of its
            predictions, of the same shape. Its order is that of the columns.
        requested: The changes, as `plot_retrieval` takes them.
        ranks: Dictionary from a model's name to `(num_images,)` ranks of the wanted
            target in the bank, 1 the best.
        bank_size: Optional integer, the number of images in the bank, for the text.
        value_range: Tuple `(low, high)` of the pixels.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the arguments' lengths differ, a model is missing or a
            parameter is not known.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_model_comparison

    clean = np.random.uniform(0, 200, (2, 32, 32, 3))
    figure = plot_model_comparison(
        clean,
        target=clean * 1.2,
        retrieved={"invariant": clean, "equivariant": clean * 1.2},
        requested=[{"brightness": 1.2}, {"brightness": 1.2}],
        ranks={"invariant": [90, 141], "equivariant": [1, 1]},
        bank_size=256,
    )
    figure.savefig("model_comparison.png")
    ```
    """
    clean = prepare_images(clean, value_range, "clean")
    target = prepare_images(target, value_range, "target")
    if target.shape != clean.shape:
        raise ValueError(
            f"`target` must have the shape of `clean`, {clean.shape}. Received: "
            f"{target.shape}"
        )
    changes = requests_in_words(requested)
    if len(changes) != len(clean):
        raise ValueError(
            f"`requested` must have one change for each of the {len(clean)} images. "
            f"Received: {len(changes)}"
        )
    if not isinstance(retrieved, dict) or not retrieved:
        raise ValueError(
            "`retrieved` must be a dictionary from a model's name to its images. "
            f"Received: {type(retrieved).__name__} of length {len(retrieved)}"
        )
    models = {}
    for name, images in retrieved.items():
        images = prepare_images(images, value_range, f"retrieved[{name!r}]")
        if images.shape != clean.shape:
            raise ValueError(
                f"`retrieved[{name!r}]` must have the shape of `clean`, "
                f"{clean.shape}. Received: {images.shape}"
            )
        model_ranks = entry_of("ranks", ranks, name, "retrieved")
        model_ranks = np.asarray(keras.ops.convert_to_numpy(model_ranks))
        if model_ranks.shape != (len(clean),):
            raise ValueError(
                f"`ranks[{name!r}]` must have one rank for each of the {len(clean)} "
                f"images. Received: shape {model_ranks.shape}"
            )
        models[name] = (images, model_ranks)

    rows, columns = len(clean), len(models) + 3
    ratio = clean.shape[1] / clean.shape[2]
    names = [wrapped(name, 22) for name in models]
    title_height = 0.25 + 0.17 * max(1 + name.count("\n") for name in names)
    figure = new_figure(1.95 * columns, (1.9 * ratio + 0.25) * rows + title_height)
    axes = figure.subplots(
        rows, columns, squeeze=False, width_ratios=[1, 0.85] + [1] * (columns - 2)
    )
    titles = ["image", "requested change", *names, "target"]
    for title, axis in zip(titles, axes[0], strict=True):
        axis.set_title(title, fontsize=TITLE_SIZE)
    for row in range(rows):
        for column, images in ((0, clean), (-1, target)):
            axes[row, column].imshow(images[row])
            hide_frame(axes[row, column])
        draw_words(axes[row, 1], changes[row])
        axes[row, 1].set_box_aspect(ratio / 0.85)
        for axis, (images, model_ranks) in zip(
            axes[row, 2:-1], models.values(), strict=True
        ):
            rank = model_ranks[row]
            color = draw_neighbor(axis, images[row], rank == 1)
            axis.set_xlabel(
                rank_in_words(rank, bank_size), fontsize=TEXT_SIZE, color=color
            )
    return figure
