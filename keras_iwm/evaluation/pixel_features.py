"""Raw pixels as features, which a trained encoder must rise above."""

import numpy as np

LARGEST_SIDE = 32  # pixels, to which larger images are shrunk
_NUM_IMAGES = 256  # in float32 at a time


def pixel_features(images, value_range):
    """Pixels of images as rows, from 0 to 1; of large images, means of areas.

    Args:
        images: NumPy array of shape `(num_images, height, width, num_channels)`.
        value_range: Pair of numbers, what becomes 0 and 1.

    Returns:
        Float32 NumPy array of shape `(num_images, num_values)`.
    """
    low, high = value_range
    rows, columns = (
        _area_matrix(side, min(side, LARGEST_SIDE)) for side in images.shape[1:3]
    )
    features = []
    for start in range(0, len(images), _NUM_IMAGES):
        part = (images[start : start + _NUM_IMAGES].astype("float32") - low) / (
            high - low
        )
        if max(images.shape[1:3]) > LARGEST_SIDE:
            part = np.einsum("ir,nrcd->nicd", rows, part, optimize=True)
            part = np.einsum("jc,nicd->nijd", columns, part, optimize=True)
        features.append(part.reshape(len(part), -1))
    return np.concatenate(features)


def _area_matrix(side, shrunk):
    """Shares of the old pixels in each new one, float32 `(shrunk, side)`."""
    edges = np.arange(shrunk + 1) * side / shrunk
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(side)
    overlap = np.minimum(ends, pixels + 1) - np.maximum(starts, pixels)
    return (np.maximum(overlap, 0.0) * shrunk / side).astype("float32")
