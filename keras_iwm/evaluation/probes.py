"""Classifiers of features that need no training loop."""

import numpy as np

from keras_iwm.arguments import as_count
from keras_iwm.array_arguments import check_features, check_labels
from keras_iwm.evaluation.nearest_neighbors import nearest_neighbors
from keras_iwm.type_aliases import Array

RIDGE_PENALTIES = 10.0 ** np.arange(-1, 7)


def knn_accuracy(
    train_features: Array,
    train_labels: Array,
    test_features: Array | None = None,
    test_labels: Array | None = None,
    k: int = 10,
) -> float:
    """Accuracy of a majority vote of the nearest features by cosine similarity.

    Equals scikit-learn's `KNeighborsClassifier(k, metric="cosine")`: every
    neighbour has one vote, and of classes with as many votes the smallest wins.
    `nearest_neighbors` returns the neighbours themselves.

    Args:
        train_features: Array or tensor of shape `(num_train, hidden_dim)`.
        train_labels: Integers of shape `(num_train,)`.
        test_features: Array or tensor of shape `(num_test, hidden_dim)`. If `None`,
            each of `train_features` is classified by the others (leave one out).
        test_labels: Integers of shape `(num_test,)`, given with `test_features`.
        k: Positive integer, the number of neighbours, of which there must be
            enough.

    Returns:
        A float from 0 to 1. NaN if a feature is not finite.

    Raises:
        ValueError: If shapes do not fit or there are fewer than `k` neighbours.

    Example:

    ```python
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(40, 8)), generator.integers(0, 3, 40)
    keras_iwm.evaluation.knn_accuracy(features, labels, k=5)
    ```
    """
    leave_one_out = test_features is None
    if leave_one_out:
        test_features, test_labels = train_features, train_labels
    train, train_labels = _check_pair(train_features, train_labels, "train")
    test, test_labels = _check_pair(test_features, test_labels, "test")
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            "`train_features` and `test_features` must have as many features. "
            f"Received: {train.shape[1]} and {test.shape[1]}."
        )
    k = as_count("k", k, 1, len(train) - leave_one_out)  # neighbours that there are
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return float("nan")
    nearest, _ = nearest_neighbors(train, None if leave_one_out else test, k)
    classes, codes = np.unique(train_labels, return_inverse=True)
    votes = np.zeros((len(test), len(classes)), "int64")
    np.add.at(votes, (np.arange(len(test))[:, None], codes[nearest]), 1)
    return float(np.mean(classes[np.argmax(votes, axis=1)] == test_labels))


def ridge_accuracy(
    train_features: Array, train_labels: Array, test_features: Array, test_labels: Array
) -> float:
    """Accuracy of a linear classifier by ridge regression, in closed form.

    One regression a class, to +1 for its images and -1 for the others, on features
    standardised by the training images, with an intercept that is not penalised;
    the class with the largest output wins. The penalty, from 0.1 to 1,000,000, is the
    one with the least squared leave-one-out error on the training images, so that
    pixels and features are each given their best. Equals scikit-learn's
    `RidgeClassifierCV` on the same standardised features. A quick stand-in for a
    linear probe: no learning rate and no epochs.

    Args:
        train_features: Array or tensor of shape `(num_train, hidden_dim)`.
        train_labels: Integers of shape `(num_train,)`, of at least 2 classes.
        test_features: Array or tensor of shape `(num_test, hidden_dim)`.
        test_labels: Integers of shape `(num_test,)`.

    Returns:
        A float from 0 to 1. NaN if a feature is not finite.

    Raises:
        ValueError: If shapes do not fit or there is one class only.

    Example:

    ```python
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(40, 8)), generator.integers(0, 3, 40)
    keras_iwm.evaluation.ridge_accuracy(
        features[:30], labels[:30], features[30:], labels[30:]
    )
    ```
    """
    train, train_labels = _check_pair(train_features, train_labels, "train")
    test, test_labels = _check_pair(test_features, test_labels, "test")
    classes = np.unique(train_labels)
    if len(classes) < 2:
        raise ValueError(
            "`train_labels` must hold at least 2 classes. Received only: "
            f"{classes.tolist()}."
        )
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return float("nan")
    wanted = np.where(train_labels[:, None] == classes, 1.0, -1.0)
    outputs, errors = _ridge_path(train, wanted, test)
    outputs = outputs[np.argmin(errors.mean(axis=1))]
    return float(np.mean(classes[np.argmax(outputs, axis=1)] == test_labels))


def ridge_predictions(train_features, train_values, test_features):
    """Values predicted by ridge regression, in closed form.

    One regression a column, as in `ridge_accuracy`, but each with its own penalty.

    Args:
        train_features: Array of shape `(num_train, num_features)`.
        train_values: Array of shape `(num_train, num_columns)`.
        test_features: Array of shape `(num_test, num_features)`.

    Returns:
        Float64 NumPy array of shape `(num_test, num_columns)`.
    """
    outputs, errors = _ridge_path(
        np.asarray(train_features, "float64"),
        np.asarray(train_values, "float64"),
        np.asarray(test_features, "float64"),
    )
    best = np.argmin(errors, axis=0)
    return np.take_along_axis(outputs, best[None, None, :], axis=0)[0]


def _ridge_path(train, wanted, test):
    """Outputs for `test` and squared leave-one-out errors, for each penalty."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1.0
    train, test = (train - mean) / deviation, (test - mean) / deviation
    # The training features have mean 0, so the intercept is the targets' mean.
    intercept = wanted.mean(axis=0)
    if len(train) < train.shape[1]:
        # No more directions than images: quicker than all of them, and enough.
        _, singular_values, directions = np.linalg.svd(train, full_matrices=False)
        values, directions = np.square(singular_values), directions.T
    else:
        values, directions = np.linalg.eigh(train.T @ train)
    scores = train @ directions
    products = scores.T @ (wanted - intercept)
    outputs, errors = [], []
    for penalty in RIDGE_PENALTIES:
        shrunk = 1.0 / (np.maximum(values, 0.0) + penalty)
        residuals = wanted - intercept - scores @ (shrunk[:, None] * products)
        # Left out, a row's residual grows by its own share in its prediction.
        leverage = np.square(scores) @ shrunk + 1.0 / len(train)
        left_out = residuals / (1.0 - leverage)[:, None]
        errors.append(np.mean(np.square(left_out), axis=0))
        weights = directions @ (shrunk[:, None] * products)
        outputs.append(test @ weights + intercept)
    return np.array(outputs), np.array(errors)


def _check_pair(features, labels, name):
    """Features as a float64 matrix and labels as a vector, of one length."""
    features = check_features(features, f"{name}_features").astype("float64")
    return features, check_labels(labels, len(features), f"{name}_labels")
