"""Pixels of patches, as what is to be predicted."""

import math

from keras import ops

from keras_iwm.arguments import as_count, as_grid
from keras_iwm.array_arguments import as_tensor
from keras_iwm.layers.patch_embedding import check_divides, cut_patches
from keras_iwm.type_aliases import Tensor


def patch_pixels(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches, each a row of its pixels' values.

    Patches stand row by row of the grid, the values of a patch row by row with the
    channels last, as in `PatchEmbedding`. `images_of_patches` is the way back.

    Args:
        images: Tensor of shape `(batch_size, height, width, num_channels)`, both sides
            multiples of `patch_size`.
        patch_size: Integer, side of a patch in pixels.

    Returns:
        Float32 tensor of shape
        `(batch_size, num_patches, patch_size * patch_size * num_channels)`.

    Raises:
        ValueError: If the images have another rank, or a side does not divide.

    Example:

    ```python
    images = keras.random.uniform((2, 32, 32, 3))
    patches = keras_iwm.layers.patch_pixels(images, 8)  # (2, 16, 192)
    ```
    """
    images = as_tensor("images", images, num_axes=4)
    patch_size = as_count("patch_size", patch_size)
    check_divides(images.shape[1:3], patch_size)
    return cut_patches(images, patch_size)


def normalize_patches(patches: Tensor) -> Tensor:
    """Normalise each patch by the mean and variance of its own values.

    What is left is the patch's structure: brightness and contrast, which neighbours
    give away, are gone. The variance is the unbiased one, as in masked autoencoders
    (arXiv 2111.06377).

    Args:
        patches: Tensor of shape `(..., num_values)`.

    Returns:
        Float32 tensor of the same shape.

    Raises:
        ValueError: If the patches are no tensor of numbers.

    Example:

    ```python
    patches = keras.random.uniform((2, 16, 192))
    targets = keras_iwm.layers.normalize_patches(patches)
    ```
    """
    patches = as_tensor("patches", patches)
    centred = patches - ops.mean(patches, axis=-1, keepdims=True)
    degrees = max(1, patches.shape[-1] - 1)
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / degrees
    return centred * ops.rsqrt(variance + 1e-6)


def images_of_patches(
    patches: Tensor, grid_size: tuple[int, int], patch_size: int
) -> Tensor:
    """Put patches together to images: the way back from `patch_pixels`.

    Args:
        patches: Tensor of shape `(batch_size, num_patches, num_values)`, row by row of
            the grid; the values of a patch row by row with the channels last.
        grid_size: Pair of integers, rows and columns of patches.
        patch_size: Integer, side of a patch in pixels.

    Returns:
        Float32 tensor of shape `(batch_size, height, width, num_channels)`.

    Raises:
        ValueError: If the patches do not fill such a grid.

    Example:

    ```python
    patches = keras.random.uniform((2, 16, 192))
    images = keras_iwm.layers.images_of_patches(patches, (4, 4), 8)  # (2, 32, 32, 3)
    ```
    """
    grid_size = as_grid("grid_size", grid_size)
    patch_size = as_count("patch_size", patch_size)
    patches = as_tensor("patches", patches, num_axes=3)
    num_patches, num_values = patches.shape[1:]
    fills = len(grid_size) == 2 and num_patches == math.prod(grid_size)
    if not fills or num_values % patch_size**2:
        raise ValueError(
            "`patches` must have shape (batch_size, rows * columns, patch_size**2 * "
            f"num_channels). Received: {tuple(patches.shape)} for grid_size={grid_size}"
            f" and patch_size={patch_size}."
        )
    rows, columns = grid_size
    parts = (-1, rows, columns, patch_size, num_values // patch_size)
    images = ops.transpose(ops.reshape(patches, parts), (0, 1, 3, 2, 4))
    sides = (rows * patch_size, columns * patch_size)
    return ops.reshape(images, (-1, *sides, num_values // patch_size**2))
