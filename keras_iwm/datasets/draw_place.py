"""Where in a video a clip lies."""

from keras_iwm.seeds import hash_seed


def draw_place(dataset, index, epoch):
    """Returns a number from 0 to below 1, a pure function of seed, epoch and clip.

    Args:
        dataset: `EpochOrderedDataset`; one that does not shuffle has all in the middle.
        index: Integer, which clip.
        epoch: Integer, or `None` where no epoch of training asks: the middle.
    """
    if epoch is None or not dataset.shuffle:
        return 0.5
    return hash_seed(hash_seed(dataset.seed, int(epoch)), int(index)) / 2**31
