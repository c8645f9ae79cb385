"""Intervals of means over entries that belong to a few images."""

import numpy as np


def clustered_mean(values):
    """Mean over images, with a 95 % interval clustered by image.

    The entries of one image are not independent of each other, so each image counts
    as one observation, the mean of its entries: the interval is 1.96 standard errors
    of these means to either side (normal approximation, which is a little narrow for
    fewer than about 20 images).

    Args:
        values: Array of shape `(num_images, num_entries)`, of at least 2 images.

    Returns:
        Dictionary of floats: `value`, `low` and `high`.
    """
    means = np.mean(np.asarray(values, "float64"), axis=1)
    margin = 1.96 * np.std(means, ddof=1) / np.sqrt(len(means))
    mean = np.mean(means)
    return {
        "value": float(mean),
        "low": float(mean - margin),
        "high": float(mean + margin),
    }
