"""Latents as they are compared with each other."""

import numpy as np
from keras import ops

from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.metrics.ranks import retrieval_distances


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
    """Distances `(num_predictions, num_entries)`."""
    return ops.convert_to_numpy(retrieval_distances(predictions, bank))


def unit(vectors):
    """Vectors of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
