"""In which order the images of shards are read."""

import numpy as np


def shard_order(shards, num_streams, shuffle_buffer, seed):
    """Returns a random order of images that visits shards one after the other.

    The shards come in a random order, which is cut into streams of equal length. Each
    stream moves every image back by a random number of places below the size of the
    buffer; then the streams take turns, an image each. So image `n` of the order
    comes from stream `n % num_streams`, and from one of the few shards that are under
    way there.

    Args:
        shards: Integers `(num_images,)`, the shard of each image.
        num_streams: Positive integer; there are no more than shards.
        shuffle_buffer: Positive integer.
        seed: What `numpy.random.default_rng` takes.

    Returns:
        int64 `(num_images,)`, each index once.
    """
    draws, count = np.random.default_rng(seed), len(shards)
    if count == 0:
        return np.arange(0)
    num_shards = int(shards.max()) + 1
    num_streams = min(num_streams, num_shards)
    by_shard = np.argsort(draws.permutation(num_shards)[shards], kind="stable")
    places = np.arange(count)
    lengths = np.bincount(places % num_streams, minlength=num_streams)
    streams = np.repeat(np.arange(num_streams), lengths)
    rows = places - np.repeat(np.cumsum(lengths) - lengths, lengths)
    moved = rows + draws.uniform(0, shuffle_buffer, count)
    order = np.empty(count, "int64")
    order[rows * num_streams + streams] = by_shard[np.lexsort((moved, streams))]
    return order
