"""What a search has found."""

import textwrap

import numpy as np

from keras_iwm.arguments import as_names
from keras_iwm.type_aliases import Array, Figure, Names, ValueRange
from keras_iwm.visualization.figure import (
    TEXT_SIZE,
    TITLE_SIZE,
    hide_frame,
    new_figure,
    prepare_images,
)

_COLUMNS = 5  # of neighbours
_LONGEST = 44  # Characters of a line that is not cut.


def plot_neighbors(
    query: Array,
    neighbors: Array,
    captions: Names | None = None,
    value_range: ValueRange = (0, 255),
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws an image and those that are most like it, the nearest first.

    The query stands on the left, the neighbours in rows of five beside it.

    Args:
        query: Image `(height, width, num_channels)`.
        neighbors: Images `(num_neighbors, height, width, num_channels)`, such as
            those of the indices that `keras_iwm.evaluation.nearest_neighbors` returns.
        captions: Optional list of strings, one below each neighbour, such as its name
            and similarity. Long lines lose their beginning.
        value_range: Tuple `(low, high)` of the pixels.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If images, channels and captions do not fit together.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_neighbors

    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3))
    figure = plot_neighbors(images[0], images[1:], [f"{n}.png" for n in range(7)])
    figure.savefig("neighbors.png")
    ```
    """
    neighbors = prepare_images(neighbors, value_range, "neighbors", rgb_channels)
    query = prepare_images(np.asarray(query)[None], value_range, "query", rgb_channels)
    if captions is None:
        captions = [""] * len(neighbors)
    captions = as_names("captions", captions)
    if len(captions) != len(neighbors):
        raise ValueError(
            f"`captions` must be one for each of the {len(neighbors)} neighbours. "
            f"Received: {len(captions)}."
        )
    ratio = neighbors.shape[1] / neighbors.shape[2]
    rows = -(-len(neighbors) // _COLUMNS)
    columns = min(len(neighbors), _COLUMNS)
    lines = 1 + max(caption.count("\n") for caption in captions)
    height = max(1.7 * ratio + 0.16 * lines + 0.1, 0.6)
    figure = new_figure(1.75 * (columns + 1) + 0.2, height * rows + 0.25)
    axes = figure.subplots(rows, columns + 1, squeeze=False)
    for axis in axes.ravel():
        hide_frame(axis)
    axes[0, 0].imshow(query[0])
    axes[0, 0].set_title("query", fontsize=TITLE_SIZE)
    axes[0, 1].set_title("most like it", fontsize=TITLE_SIZE, loc="left")
    for axis in axes[1:, 0]:
        axis.set_visible(False)
    beside = axes[:, 1:].ravel()
    for axis, image, caption in zip(beside, neighbors, captions, strict=False):
        axis.imshow(image)
        axis.set_xlabel(_shortened(caption), fontsize=TEXT_SIZE - 1)
    for axis in beside[len(neighbors) :]:
        axis.set_visible(False)
    return figure


def _shortened(caption):
    """Returns a caption whose lines fit below an image, in two lines at most each."""
    lines = []
    for line in caption.split("\n"):
        cut = line if len(line) <= _LONGEST else f"…{line[1 - _LONGEST :]}"
        lines += textwrap.wrap(cut, 24)
    return "\n".join(lines)
