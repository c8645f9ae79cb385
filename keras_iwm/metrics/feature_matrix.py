"""The matrix that the measures of features begin with."""

from keras_iwm.array_arguments import as_array


def as_feature_matrix(features):
    """Features as a float64 NumPy matrix, or a ValueError that says what to do."""
    features = as_array("features", features).astype("float64")
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            "`features` must be a matrix of shape (num_images, hidden_dim). "
            f"Received shape: {features.shape}. Average patch latents over their "
            "patches first, as keras_iwm.evaluation.extract_features does."
        )
    return features
