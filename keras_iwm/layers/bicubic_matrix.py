"""Bicubic resampling as a product with a matrix."""

import numpy as np


def bicubic_matrix(size, resampled_size, antialias):
    """Make the matrix that resamples a row of values bicubically, in two usual ways.

    Backends differ in what they call bicubic; a matrix is the same on all of them.

    Args:
        size: Integer, values of the row.
        resampled_size: Integer, values to make of them.
        antialias: Boolean. If `False`, the cubic of sharpness -0.75 through the four
            nearest values, those beyond an end equal to it, as OpenCV and
            `torch.nn.functional.interpolate` do. If `True`, that of sharpness -0.5,
            widened where values become fewer and cut at the ends, as Pillow does, and
            Torch with `antialias=True`.

    Returns:
        Float32 array of shape `(resampled_size, size)`.
    """
    sharpness = -0.5 if antialias else -0.75
    scale = size / resampled_size
    width = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(resampled_size) + 0.5) * scale - 0.5
    places = np.arange(-2, size + 2)
    weights = cubic((places - centres[:, None]) / width, sharpness)
    matrix = weights[:, 2:-2]
    if antialias:
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    else:
        matrix[:, 0] += weights[:, :2].sum(axis=1)
        matrix[:, -1] += weights[:, -2:].sum(axis=1)
    return matrix.astype("float32")


def cubic(distances, sharpness):
    """Weights of values at `distances`, in units of theirs."""
    x = np.abs(distances)
    near = (sharpness + 2) * x**3 - (sharpness + 3) * x**2 + 1
    far = sharpness * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
