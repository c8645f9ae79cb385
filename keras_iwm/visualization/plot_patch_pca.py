"""What an encoder tells apart: the main directions of its latents as colours."""

from collections.abc import Mapping

import numpy as np

from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array, Figure, ValueRange
from keras_iwm.visualization.figure import (
    TITLE_SIZE,
    check_grid,
    hide_frame,
    new_figure,
    prepare_images,
    wrapped,
)


def plot_patch_pca(
    images: Array,
    latents: Array | Mapping[str, Array],
    grid_size: tuple[int, int],
    value_range: ValueRange = (0, 255),
    rgb_channels: tuple[int, int, int] = (0, 1, 2),
) -> Figure:
    """Draws the first three principal components of patch latents as colours.

    The components are found over all images together, so that one colour means the
    same thing in all of them: patches of like colour have like latents. Above each
    map stands its image. Latents of several encoders make one row each, whose
    components are found for each encoder apart: colours compare within a row.

    Args:
        images: `(num_images, height, width, num_channels)`.
        latents: `(num_images, num_patches, hidden_dim)`, such as an encoder returns
            for the full images; or a dictionary from an encoder's name to its latents.
        grid_size: Tuple `(height, width)`, patches in an image.
        value_range: Tuple `(low, high)` of the pixels.
        rgb_channels: Three integers, the channels to draw red, green and blue. Images
            with one channel are drawn gray.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If images, latents and grid do not fit together.

    Example:

    ```python
    import numpy as np
    from keras_iwm.visualization import plot_patch_pca

    images = np.random.uniform(0, 255, (3, 32, 32, 3))
    latents = np.random.normal(size=(3, 16, 64))
    figure = plot_patch_pca(images, latents, grid_size=(4, 4))
    figure.savefig("patch_pca.png")
    ```
    """
    images = prepare_images(images, value_range, rgb_channels=rgb_channels)
    grid_size = check_grid(grid_size, images.shape)
    if not isinstance(latents, dict):
        colors = {"PCA of patches": _color_maps("latents", latents, images, grid_size)}
    elif latents:
        colors = {
            name: _color_maps(f"latents[{name!r}]", points, images, grid_size)
            for name, points in latents.items()
        }
    else:
        raise ValueError("`latents` must have at least one encoder. Received: {}")

    rows, row_height = 1 + len(colors), 1.7 * images.shape[1] / images.shape[2] + 0.1
    figure = new_figure(1.7 * len(images) + 0.4, rows * row_height + 0.1)
    axes = figure.subplots(rows, len(images), squeeze=False)
    for picture, axis in zip(images, axes[0], strict=True):
        axis.imshow(picture)
    for row, maps in zip(axes[1:], colors.values(), strict=True):
        for picture, axis in zip(maps, row, strict=True):
            axis.imshow(picture, interpolation="nearest")
    for axis in axes.ravel():
        hide_frame(axis)
    for name, axis in zip(("image", *colors), axes[:, 0], strict=True):
        axis.set_ylabel(wrapped(name, 20), fontsize=TITLE_SIZE)
    return figure


def _color_maps(name, latents, images, grid_size):
    """Returns the components of latents as colours `(num_images, *grid_size, 3)`."""
    latents = as_array(name, latents).astype("float64")
    num_patches = grid_size[0] * grid_size[1]
    if latents.shape[:-1] != (len(images), num_patches) or latents.shape[-1] < 3:
        raise ValueError(
            f"`{name}` must have shape ({len(images)}, {num_patches}, hidden_dim) "
            "with a hidden_dim of at least 3, for these images and this grid. "
            f"Received: {latents.shape}"
        )
    colors = _principal_colors(latents.reshape(-1, latents.shape[-1]))
    return colors.reshape(len(images), *grid_size, 3)


def _principal_colors(points):
    """Returns the first three components of `(n, d)` points, scaled to [0, 1]."""
    points = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(points.T @ points)
    directions = directions[:, :-4:-1]
    # The sign of a direction is arbitrary: let its largest entry be positive.
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, range(3)])
    components = points @ directions
    # A few outliers shall not make all other patches grey.
    low, high = np.percentile(components, [1, 99], axis=0)
    return np.clip((components - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
