"""How fast the variances of features fall from one dimension to the next."""

import numpy as np

from keras_iwm.metrics.feature_matrix import as_feature_matrix
from keras_iwm.type_aliases import Array


def alpha_req(features: Array) -> float:
    """Decay exponent of the eigenvalues of the features' covariance (α-ReQ).

    The variances along the principal axes of good features fall like a power law,
    the `i`-th one as `i ** -alpha`. This is the slope of the line through their
    logarithms over the logarithm of `i`, by least squares, with the sign turned. It
    needs no labels:

    - near 1, roughly from 0.8 to 1.5: many dimensions are used, the first ones most.
      That went along with the best linear probes in the paper;
    - well below 1: the spectrum is flat, as that of noise (0 when isotropic);
    - well above 1: few dimensions carry all. It rises without bound as features
      collapse, and is infinite where fewer than two dimensions vary.

    Variances that float32 features cannot hold beside their own size are rounding
    and left out. The last ones depend on the number of images, so compare exponents
    from the same number of images only. Computed on the host in float64.

    Source: α-ReQ, arXiv 2202.05808. That all variances enter the fit is this
    library's choice.

    Args:
        features: Array or tensor of shape `(num_images, hidden_dim)`, such as the
            average-pooled latents of `keras_iwm.evaluation.extract_features` of the
            teacher (`model.target_encoder`).

    Returns:
        A float, 0 or more; NaN if any feature is not finite.

    Raises:
        ValueError: If `features` is not a matrix.

    Example:

    ```python
    variances = np.arange(1, 9) ** -1.0
    features = np.random.default_rng(0).normal(size=(1000, 8)) * np.sqrt(variances)
    keras_iwm.metrics.alpha_req(features)  # near 1
    ```
    """
    features = as_feature_matrix(features)
    if not np.all(np.isfinite(features)):
        return float("nan")
    deviations = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    # A latent's last norm leaves one dimension empty but for float32's rounding.
    rounding = np.finfo("float32").eps * np.linalg.norm(features)
    deviations = deviations[deviations > rounding]
    if len(deviations) < 2:
        return float("inf")
    rank = np.log(np.arange(1, len(deviations) + 1))
    rank -= rank.mean()
    # Variances are squares, so their logarithms are twice those of the deviations.
    slope = 2 * (rank @ np.log(deviations)) / (rank @ rank)
    return max(0.0, -float(slope))
