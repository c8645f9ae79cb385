"""What an encoder tells apart: the main directions of its latents as colours."""

import keras
import numpy as np

from keras_iwm.visualization.figure import (
    TITLE_SIZE,
    check_grid,
    hide_frame,
    new_figure,
    prepare_images,
)


def plot_patch_pca(images, latents, grid_size, value_range=(0, 255)):
    """Draws the first three principal components of patch latents as colours.

    The components are found over all images together, so that one colour means the
    same thing in all of them: patches of like colour have like latents. Above each
    map stands its image.

    Args:
        images: `(num_images, height, width, 3)`.
        latents: `(num_images, num_patches, hidden_dim)`, such as an encoder returns
            for the full images.
        grid_size: Tuple `(height, width)`, patches in an image.
        value_range: Tuple `(low, high)` of the pixels.

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
    images = prepare_images(images, value_range)
    check_grid(grid_size, images.shape)
    latents = np.asarray(keras.ops.convert_to_numpy(latents), dtype="float64")
    num_patches = grid_size[0] * grid_size[1]
    if latents.shape[:-1] != (len(images), num_patches) or latents.shape[-1] < 3:
        raise ValueError(
            f"`latents` must have shape ({len(images)}, {num_patches}, hidden_dim) "
            "with a hidden_dim of at least 3, for these images and this grid. "
            f"Received: {latents.shape}"
        )
    colors = _principal_colors(latents.reshape(-1, latents.shape[-1]))
    colors = colors.reshape(len(images), *grid_size, 3)

    figure = new_figure(1.7 * len(images) + 0.4, 3.7)
    axes = figure.subplots(2, len(images), squeeze=False)
    for column, image in enumerate(images):
        axes[0, column].imshow(image)
        axes[1, column].imshow(colors[column], interpolation="nearest")
        for axis in axes[:, column]:
            hide_frame(axis)
    axes[0, 0].set_ylabel("image", fontsize=TITLE_SIZE)
    axes[1, 0].set_ylabel("PCA of patches", fontsize=TITLE_SIZE)
    return figure


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
