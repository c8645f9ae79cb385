"""Numbers made of sums over photos, and how sure they are."""

import numpy as np

from keras_iwm.evaluation.seed_interval import t_quantile


def sums_by_photo(values, photos):
    """Sum what was measured of each image over the images of each photo.

    Args:
        values: Array of shape `(num_images, ...)`.
        photos: Integer array of shape `(num_images,)`, from 0 on without gaps.

    Returns:
        Float64 array of shape `(num_photos, ...)`.
    """
    sums = np.zeros((photos.max() + 1, *values.shape[1:]))
    np.add.at(sums, photos, values)
    return sums


def jackknife(statistic, sums):
    """A statistic of sums over all photos, with a 95 % interval.

    Each photo is left out in turn: from how far the statistic moves follows its
    standard error, and with Student's t the interval. Of a mean it is the usual one.
    Crops of one photo are not independent of each other, so photos are what counts.

    Args:
        statistic: Function from a tuple of arrays, summed over photos, to an array.
        sums: Tuple of arrays of shape `(num_photos, ...)`, of at least 2 photos.

    Returns:
        Dictionary of arrays: `value`, `low` and `high`.
    """
    sums = tuple(np.asarray(part, "float64") for part in sums)
    count = len(sums[0])
    totals = [part.sum(axis=0) for part in sums]
    value = np.asarray(statistic(*totals))
    others = np.array(
        [
            statistic(
                *(total - part[i] for total, part in zip(totals, sums, strict=True))
            )
            for i in range(count)
        ]
    )
    error = np.sqrt((count - 1) * np.mean(np.square(others - others.mean(0)), axis=0))
    margin = t_quantile(count - 1) * error
    return {"value": value, "low": value - margin, "high": value + margin}
