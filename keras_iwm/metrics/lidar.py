"""Effective rank of what features tell of an image and not of its view."""

import numpy as np

from keras_iwm.arguments import as_positive
from keras_iwm.array_arguments import as_array
from keras_iwm.type_aliases import Array


def lidar(features: Array, delta: float = 1e-4) -> float:
    """Effective number of dimensions that tell images apart (LiDAR).

    RankMe counts every dimension in which features differ, also those in which only
    the views of one image differ. LiDAR whitens the covariance of the images' mean
    features by the covariance of views around their image's mean, and takes the
    exponential of the entropy of the eigenvalues, normalised to sum to one: a
    dimension counts for as much as it separates images more than views. It needs no
    labels. It lies between 1 (images differ along one line, or not at all) and
    `min(num_objects - 1, hidden_dim)`, so compare numbers from the same numbers of
    objects and views only. Computed on the host in float64.

    Source: LiDAR, arXiv 2312.04000, which takes 1,000 images in 50 views each.

    Args:
        features: Array or tensor of shape `(num_objects, num_views, hidden_dim)`:
            the features of several random views of each image, such as the
            average-pooled latents of `keras_iwm.evaluation.extract_features` of the
            teacher (`model.target_encoder`) on crops. At least 2 views.
        delta: Positive float, added to the diagonal of the views' covariance, so that
            a dimension in which views hardly differ does not count without bound.

    Returns:
        A float; NaN if any feature is not finite.

    Raises:
        ValueError: If `features` has another rank or a single view an object, or if
            `delta` is not positive.

    Example:

    ```python
    generator = np.random.default_rng(0)
    images = generator.normal(size=(50, 1, 8))
    views = images + 0.1 * generator.normal(size=(50, 10, 8))
    keras_iwm.metrics.lidar(views)  # near 8
    ```
    """
    features = as_array("features", features).astype("float64")
    if features.ndim != 3 or features.size == 0 or features.shape[1] < 2:
        raise ValueError(
            "`features` must have shape (num_objects, num_views, hidden_dim) with at "
            f"least 2 views. Received shape: {features.shape}. Extract the features of "
            "several views of each image and stack them with np.stack(..., axis=1)."
        )
    delta = as_positive("delta", delta)
    if not np.all(np.isfinite(features)):
        return float("nan")
    num_objects, num_views, hidden_dim = features.shape
    means = features.mean(axis=1)
    around = (features - means[:, None]).reshape(-1, hidden_dim)
    within = around.T @ around / (num_objects * num_views)
    variances, directions = np.linalg.eigh(within)
    # eigh may give a variance of zero as a tiny negative number.
    whitening = directions / np.sqrt(np.maximum(variances, 0.0) + delta)
    whitened = (means - means.mean(axis=0)) @ whitening
    values = np.square(np.linalg.svd(whitened, compute_uv=False))
    # An epsilon keeps equal objects at 1 instead of dividing by zero.
    shares = values / (values.sum() + np.finfo("float64").tiny)
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))
