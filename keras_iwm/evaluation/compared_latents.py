"""Latents as they are compared with each other."""

import numpy as np
from keras import ops

from keras_iwm.layers.normalize_latents import normalize_latents


def as_targets(latents):
    """Latents as predictions are compared with them: normalised."""
    return ops.convert_to_numpy(normalize_latents(latents))


def bank_of(found):
    """The targets of `look`, the unchanged image's first."""
    targets = found["targets"]
    return np.concatenate(
        [found["target"][None], targets.reshape(-1, *targets.shape[2:])]
    )


def distances_to(bank, predictions):
    """Distances `(num_predictions, num_entries)`, float64.

    As `retrieval_distances`, but without compiling anything; in float64 products have
    enough digits to tell near entries apart.
    """
    bank, predictions = (
        array.reshape(len(array), -1).astype("float64") for array in (bank, predictions)
    )
    squares = np.square(predictions).sum(axis=1)[:, None] + np.square(bank).sum(axis=1)
    squares -= 2 * predictions @ bank.T
    return np.sqrt(np.maximum(squares, 0.0))


def unit(vectors):
    """Vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
