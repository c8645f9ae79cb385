"""What a masked autoencoder puts in the place of what it does not see."""

import numpy as np

from keras_iwm.arguments import as_object
from keras_iwm.models.masked_autoencoder import MaskedAutoencoder
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    add_rows,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
)

_GREY = 0.85


def plot_reconstructions(
    model: MaskedAutoencoder,
    images: Array,
    seed: int = 0,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws what a masked autoencoder makes of images most of which it does not see.

    Three columns, one image a row: the image; the patches that the encoder saw, with
    all others light grey; the picture of `MaskedAutoencoder.reconstruct`, with visible
    patches kept and brightness and contrast of each hidden patch given to the model.

    Args:
        model: `MaskedAutoencoder`.
        images: `(num_images, height, width, num_channels)` of the model's `image_size`
            and in its `value_range`.
        seed: Integer, which patches are hidden.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the images do not fit the model, or it cannot reconstruct.

    Example:

    ```python
    import numpy as np
    from keras_iwm.models import MaskedAutoencoder
    from keras_iwm.visualization import plot_reconstructions

    model = MaskedAutoencoder.from_preset("mae_tiny_32", load_weights=False)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    figure = plot_reconstructions(model, images)
    figure.savefig("reconstructions.png")
    ```
    """
    needed = ("reconstruct", "value_range")
    as_object("model", model, needed, "a MaskedAutoencoder")
    results = model.reconstruct(images, seed)
    originals, reconstructions = (
        prepare_images(pictures, model.value_range, rgb_channels=rgb_channels)
        for pictures in (images, results["reconstruction"])
    )
    masked = np.where(results["visible"][..., None], originals, _GREY)
    count, (height, width) = len(originals), originals.shape[1:3]
    beside, rows = row_blocks(count)
    figure = new_figure(6.0 * beside, (2.0 * height / width + 0.05) * rows + 0.3)
    titles = ("image", "visible", "reconstruction")
    columns = zip(originals, masked, reconstructions, strict=True)
    for axes, row in zip(add_rows(figure, count, titles), columns, strict=True):
        for axis, picture in zip(axes, row, strict=True):
            axis.imshow(picture)
            hide_frame(axis)
    return figure
