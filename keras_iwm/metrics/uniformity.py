"""How evenly features spread over the sphere of directions."""

import numpy as np

from keras_iwm.arguments import as_positive
from keras_iwm.metrics.feature_matrix import as_feature_matrix
from keras_iwm.type_aliases import Array

# Rows of a tile of pairs: 32 MiB in float64.
_ROWS = 2048


def uniformity(features: Array, t: float = 2) -> float:
    """Logarithm of the mean Gaussian potential of pairs of unit-length features.

    `log(mean(exp(-t * ||x - y||**2)))` over all pairs of two different images, whose
    features are divided by their length. It is 0 when all images share one direction
    (collapse) and falls the more evenly directions cover the sphere, towards about
    `-2 * t` in many dimensions; -4 to -3 is common for good features with `t=2`. It
    needs no labels. All pairs are counted, tile by tile, in bounded memory, on the
    host in float64.

    Features are not centred, as in the source: a large part common to all images
    reads as little uniformity. Features of length zero stay zero.

    Source: Wang and Isola 2020, arXiv 2005.10242.

    Args:
        features: Array or tensor of shape `(num_images, hidden_dim)` of at least 2
            images, such as the average-pooled latents of
            `keras_iwm.evaluation.extract_features` of the teacher
            (`model.target_encoder`).
        t: Positive float, how fast the potential falls with the squared distance.

    Returns:
        A float, from `-4 * t` to 0; NaN if any feature is not finite.

    Raises:
        ValueError: If `features` is not a matrix of 2 rows or more, or `t` is not
            positive.

    Example:

    ```python
    keras_iwm.metrics.uniformity(np.eye(8))  # -4.0
    ```
    """
    features = as_feature_matrix(features)
    if len(features) < 2:
        raise ValueError(
            "`features` must hold at least 2 images, which make a pair. Received "
            f"shape: {features.shape}."
        )
    t = as_positive("t", t)
    if not np.all(np.isfinite(features)):
        return float("nan")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.where(lengths == 0, 1.0, lengths)
    squares = np.sum(np.square(features), axis=1)
    starts = range(0, len(features), _ROWS)
    total = 0.0
    for start in starts:
        rows = slice(start, start + _ROWS)
        for other in starts[start // _ROWS :]:
            columns = slice(other, other + _ROWS)
            products = features[rows] @ features[columns].T
            distances = squares[rows, None] + squares[columns] - 2 * products
            potential = np.exp(-t * np.maximum(distances, 0.0))
            # A tile of rows with themselves holds each pair twice.
            total += np.triu(potential, 1).sum() if other == start else potential.sum()
    num_pairs = len(features) * (len(features) - 1) / 2
    return float(np.log(total / num_pairs))
