"""From pixels to numbers of about mean 0 and deviation 1."""

import numpy as np
from keras import ops

from keras_iwm.arguments import as_channel_values

# Of natural photos (ImageNet), as shares of the value range.
PHOTO_MEAN = (0.485, 0.456, 0.406)
PHOTO_STD = (0.229, 0.224, 0.225)


def as_statistics(mean, std, num_channels):
    """Return mean and deviation for each channel, those of photos if there are three.

    Args:
        mean: Number, one for each channel, or `None`.
        std: Number, one for each channel, or `None`.
        num_channels: Integer.

    Returns:
        Two tuples of floats.

    Raises:
        ValueError: If they are no such numbers, or a deviation is not positive.
    """
    photos = num_channels == 3
    mean = (PHOTO_MEAN if photos else 0.5) if mean is None else mean
    std = (PHOTO_STD if photos else 0.25) if std is None else std
    mean = as_channel_values("mean", mean, num_channels)
    std = as_channel_values("std", std, num_channels)
    if min(std) <= 0:
        raise ValueError(f"`std` must be positive. Received: std={std!r}.")
    return mean, std


def normalize_pixels(images, value_range, mean, std):
    """Map pixels to about mean 0 and deviation 1.

    Args:
        images: Tensor of shape `(batch_size, height, width, num_channels)`.
        value_range: Pair of floats.
        mean: Tuple of floats, shares of the range.
        std: Tuple of floats, shares of the range.

    Returns:
        Float32 tensor of the same shape.
    """
    low, high = value_range
    mean, std = np.array(mean, "float32"), np.array(std, "float32")
    scale = 1 / ((high - low) * std)
    offset = -low * scale - mean / std
    images = ops.cast(images, "float32") * ops.convert_to_tensor(scale, "float32")
    return images + ops.convert_to_tensor(offset, "float32")
