"""Which images may stand in for one that cannot be used."""

import numpy as np

from keras_iwm.seeds import hash_seed


def stand_ins(index, labels, num_images, seed):
    """Yields the indices of all images, those of the same class first.

    Where it starts is a pure function of the seed and the index, so that the images
    behind a row of bad ones do not have to stand in for all of them.

    Args:
        index: Integer, the image to be replaced.
        labels: Integers `(num_images,)`, or `None`.
        num_images: Integer.
        seed: Non-negative integer.
    """
    draw = hash_seed(seed, int(index))
    groups = [range(num_images)]
    if labels is not None:
        groups.insert(0, np.flatnonzero(labels == labels[index]))
    for group in groups:
        yield from (group[(draw + n) % len(group)] for n in range(len(group)))
