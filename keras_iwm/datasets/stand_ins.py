"""Which images may stand in for one that cannot be used."""

import numpy as np

from keras_iwm.seeds import hash_seed


def stand_ins(index, labels, num_images, seed):
    """Yields the indices of all images, those of the same class first.

    Where it starts is a pure function of the seed and the index, so that the images
    behind a row of bad ones do not have to stand in for all of them.

    Args:
        index: Integer, the image to be replaced.
        labels: Rising integers `(num_images,)`, or `None`.
        num_images: Integer.
        seed: Non-negative integer.
    """
    draw = hash_seed(seed, int(index))
    ranges = [(0, num_images)]
    if labels is not None:
        ranges.insert(0, np.searchsorted(labels, [labels[index], labels[index] + 1]))
    for start, end in ranges:
        yield from (start + (draw + n) % (end - start) for n in range(end - start))
