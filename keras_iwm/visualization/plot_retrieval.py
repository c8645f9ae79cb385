"""What the world model imagines, shown by what it retrieves."""

import keras
import numpy as np

from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    draw_neighbor,
    draw_words,
    hide_frame,
    new_figure,
    prepare_images,
    rank_in_words,
)
from keras_iwm.visualization.slot_words import requests_in_words


def plot_retrieval(
    clean, target, retrieved, requested, ranks, bank_size=None, value_range=(0, 255)
):
    """Draws held-out images beside what the model finds when told a change.

    A world model predicts latents, not pixels, so what it imagines is shown by the
    bank image whose latents are nearest to the prediction. One image a row, four
    columns: the image; the requested change in words; the nearest neighbour, framed
    green where it is the wanted target and red where not; the wanted target.

    Args:
        clean: Images `(num_images, height, width, 3)` as the model saw them.
        target: The wanted targets, images of the same shape.
        retrieved: The nearest neighbours of the predictions, of the same shape.
        requested: The changes: an array `(num_images, 4)` of a `ColorJitter`'s
            parameters, which are brightness, contrast and saturation as factors (1
            is unchanged) and hue as a part of a turn (0 is unchanged); or a list of
            dictionaries of these by name.
        ranks: `(num_images,)`, the wanted target's rank in the bank, 1 the best.
        bank_size: Optional integer, the number of images in the bank, for the text.
        value_range: Tuple `(low, high)` of the pixels.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the arguments' lengths differ or a parameter is not known.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_retrieval

    clean = np.random.uniform(0, 200, (2, 32, 32, 3))
    figure = plot_retrieval(
        clean,
        target=clean * 1.2,
        retrieved=clean * 1.1,
        requested=[{"brightness": 1.2}, {"hue": 0.05}],
        ranks=[3, 1],
        bank_size=256,
    )
    figure.savefig("retrieval.png")
    ```
    """
    clean = prepare_images(clean, value_range, "clean")
    target = prepare_images(target, value_range, "target")
    retrieved = prepare_images(retrieved, value_range, "retrieved")
    changes = requests_in_words(requested)
    ranks = np.asarray(keras.ops.convert_to_numpy(ranks))
    lengths = [len(part) for part in (clean, target, retrieved, changes, ranks)]
    if len(set(lengths)) > 1:
        raise ValueError(
            "`clean`, `target`, `retrieved`, `requested` and `ranks` must be of the "
            f"same length. Received: {lengths}"
        )

    rows = len(clean)
    figure = new_figure(8.2, 2.0 * rows + 0.45)
    axes = figure.subplots(rows, 4, squeeze=False, width_ratios=[1, 0.95, 1, 1])
    titles = ("image", "requested change", "retrieved for the prediction", "target")
    for title, axis in zip(titles, axes[0], strict=True):
        axis.set_title(title, fontsize=TITLE_SIZE)
    for row in range(rows):
        for column, images in ((0, clean), (3, target)):
            axes[row, column].imshow(images[row])
            hide_frame(axes[row, column])
        color = draw_neighbor(axes[row, 2], retrieved[row], ranks[row] == 1)
        axes[row, 3].set_xlabel(
            rank_in_words(ranks[row], bank_size), fontsize=TEXT_SIZE, color=color
        )
        draw_words(axes[row, 1], changes[row])
    return figure
