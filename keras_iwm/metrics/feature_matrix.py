"""The matrix that the measures of features begin with."""

import numpy as np
from keras import ops


def as_feature_matrix(features):
    """Features as a float64 NumPy matrix, or a ValueError that says what to do."""
    features = np.asarray(ops.convert_to_numpy(features)).astype("float64")
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            "`features` must be a matrix of shape (num_images, hidden_dim). "
            f"Received shape: {features.shape}. Average patch latents over their "
            "patches first, as keras_iwm.evaluation.extract_features does."
        )
    return features
