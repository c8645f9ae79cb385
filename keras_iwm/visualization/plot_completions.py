"""What an autoregressive model puts behind the first patches of images."""

import numpy as np

from keras_iwm.arguments import as_count, as_number, as_object
from keras_iwm.models.autoregressive_model import AutoregressiveModel
from keras_iwm.type_aliases import Array, Figure
from keras_iwm.visualization.figure import (
    add_rows,
    hide_frame,
    new_figure,
    prepare_images,
    row_blocks,
)

_GREY = 0.85
_MOST = 16  # completions that a page holds


def plot_completions(
    model: AutoregressiveModel,
    images: Array,
    num_first: int | None = None,
    num_completions: int = 3,
    temperature: float = 1.0,
    seed: int = 0,
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws how an autoregressive model goes on from the first patches of images.

    One image a row: the image; its first patches in the model's order, with all others
    light grey; and several completions, drawn apart, which show what the model takes
    for possible. A `SquaredErrorHead` draws no noise: all its completions are equal.

    Args:
        model: `AutoregressiveModel` with `normalize_targets=False` and an order that is
            the same for all images.
        images: `(num_images, height, width, num_channels)` of the model's `image_size`
            and in its `value_range`.
        num_first: Optional integer, how many patches are given; half by default.
        num_completions: Integer up to 16, how many times each image is completed.
        temperature: Float of at least 0, see `AutoregressiveModel.generate`.
        seed: Integer, of the draws.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the images do not fit the model, it cannot generate, or its order
            is drawn anew for every image.

    Example:

    ```python
    import numpy as np
    from keras_iwm.models import AutoregressiveModel
    from keras_iwm.visualization import plot_completions

    model = AutoregressiveModel.from_preset(
        "autoregressive_tiny_32", load_weights=False, normalize_targets=False
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    figure = plot_completions(model, images, num_completions=2)
    figure.savefig("completions.png")
    ```
    """
    needed = ("generate", "causal_encoder", "order")
    as_object("model", model, needed, "an AutoregressiveModel")
    if model.order == "random":
        raise ValueError(
            '`model` must have one order for all images. Received: order="random", '
            "whose first patches differ from image to image. Use `model.generate`."
        )
    num_patches = model.num_patches
    num_first = num_patches // 2 if num_first is None else num_first
    num_first = as_count("num_first", num_first, 0, num_patches)
    num_completions = as_count("num_completions", num_completions, 1, _MOST)
    as_number("temperature", temperature, 0.0, float("inf"))
    seed = as_count("seed", seed, 0)
    originals = prepare_images(images, model.value_range, rgb_channels=rgb_channels)
    count, (height, width) = len(originals), originals.shape[1:3]
    completed = model.generate(
        images=np.repeat(np.asarray(images), num_completions, axis=0),
        num_first=num_first,
        temperature=temperature,
        seed=seed,
    )
    completed = prepare_images(completed, model.value_range, rgb_channels=rgb_channels)
    completed = completed.reshape(count, num_completions, *originals.shape[1:])
    given = np.zeros(num_patches, "bool")
    given[model.causal_encoder.patch_ids[:num_first]] = True
    size = model.encoder.patch_size
    given = given.reshape(model.encoder.grid_size).repeat(size, 0).repeat(size, 1)
    first = np.where(given[..., None], originals, _GREY)
    beside, rows = row_blocks(count)
    figure = new_figure(
        (num_completions + 2) * 1.6 * beside, (1.6 * height / width + 0.05) * rows + 0.3
    )
    titles = ("image", "first patches", *["completion"] * num_completions)
    columns = zip(originals, first, completed, strict=True)
    for axes, (image, start, ends) in zip(
        add_rows(figure, count, titles), columns, strict=True
    ):
        for axis, picture in zip(axes, (image, start, *ends), strict=True):
            axis.imshow(picture)
            hide_frame(axis)
    return figure
