"""Effective rank of a set of features."""

import numpy as np

from keras_iwm.metrics.feature_matrix import as_feature_matrix
from keras_iwm.type_aliases import Array


def rank_me(features: Array) -> float:
    """Effective number of dimensions that a set of features uses (RankMe).

    The exponential of the entropy of the singular values of the feature matrix,
    normalised to sum to one. It needs no labels and falls when features collapse
    to few dimensions. It lies between 1 (all features on one line through the
    origin, or all zero) and `min(num_images, hidden_dim)`, so compare numbers from
    the same number of images only. Computed on the host in float64.

    Source: RankMe, arXiv 2210.02885. Features are not centred, as there.

    Args:
        features: Array or tensor of shape `(num_images, hidden_dim)`, such as the
            average-pooled latents of `keras_iwm.evaluation.extract_features`.

    Returns:
        A float; NaN if any feature is not finite.

    Raises:
        ValueError: If `features` is not a matrix.

    Example:

    ```python
    keras_iwm.metrics.rank_me(np.eye(8))  # 8.0
    ```
    """
    features = as_feature_matrix(features)
    if not np.all(np.isfinite(features)):
        return float("nan")
    values = np.linalg.svd(features, compute_uv=False)
    # An epsilon keeps all-zero features at 1 instead of dividing by zero.
    shares = values / (values.sum() + np.finfo("float64").tiny)
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def feature_spread(features: Array) -> float:
    """Standard deviation of each feature over images, averaged over features.

    Zero when the encoder gives every image the same features (full collapse).
    Logged beside RankMe, which does not see the features' size. Computed on the
    host in float64.

    Args:
        features: Array or tensor of shape `(num_images, hidden_dim)`.

    Returns:
        A float, 0 or more.

    Raises:
        ValueError: If `features` is not a matrix.

    Example:

    ```python
    keras_iwm.metrics.feature_spread(np.ones((4, 8)))  # 0.0
    ```
    """
    return float(np.mean(np.std(as_feature_matrix(features), axis=0)))
