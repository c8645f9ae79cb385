"""Classifiers of features that need no training loop."""

import numpy as np

from keras_iwm.arguments import as_count
from keras_iwm.array_arguments import check_features, check_labels
from keras_iwm.evaluation.nearest_neighbors import nearest_neighbors
from keras_iwm.type_aliases import Array

RIDGE_PENALTIES = 10.0 ** np.arange(-1, 7)
_NUM_ROWS = 4096  # of features, in float64 at a time


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
    if not (_all_finite(train) and _all_finite(test)):
        return float("nan")
    nearest, _ = nearest_neighbors(train, None if leave_one_out else test, k)
    classes, codes = np.unique(train_labels, return_inverse=True)
    correct = 0
    for rows in _parts(test):
        voters = codes[nearest[rows]]
        votes = np.zeros((len(voters), len(classes)), "int64")
        np.add.at(votes, (np.arange(len(voters))[:, None], voters), 1)
        winners = classes[np.argmax(votes, axis=1)]
        correct += int(np.sum(winners == test_labels[rows]))
    return correct / len(test)


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
    if not (_all_finite(train) and _all_finite(test)):
        return float("nan")

    def wanted(rows):
        return np.where(train_labels[rows, None] == classes, 1.0, -1.0)

    path = _RidgePath(train, wanted)
    best = int(np.argmin(path.errors.mean(axis=1)))
    correct = 0
    for rows in _parts(test):
        winners = classes[np.argmax(path.outputs(test[rows], best), axis=1)]
        correct += int(np.sum(winners == test_labels[rows]))
    return correct / len(test)


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
    train_values = np.asarray(train_values, "float64")
    path = _RidgePath(np.asarray(train_features), lambda rows: train_values[rows])
    best = np.argmin(path.errors, axis=0)
    test_features = np.asarray(test_features)
    outputs = np.empty((len(test_features), len(best)))
    for penalty in np.unique(best):
        columns = best == penalty
        for rows in _parts(test_features):
            found = path.outputs(test_features[rows], penalty)
            outputs[rows, columns] = found[:, columns]
    return outputs


class _RidgePath:
    """Ridge regressions of all penalties at once, a part of the rows at a time.

    Beside the features it holds a square matrix of their columns, or of the rows if
    there are fewer.

    Args:
        train: Array of shape `(num_train, num_features)`.
        wanted: Function from a slice of rows to what is wanted of them, float64 of
            shape `(num_rows, num_columns)`.

    Attributes:
        errors: Float64 array `(num_penalties, num_columns)`, mean squared leave-one-out
            errors.
    """

    def __init__(self, train, wanted):
        parts = _parts(train)
        self.mean = sum(train[rows].sum(axis=0, dtype="float64") for rows in parts)
        self.mean = self.mean / len(train)
        self.deviation = np.ones(train.shape[1])
        squares = sum(np.square(self._standard(train[rows])).sum(0) for rows in parts)
        self.deviation = np.sqrt(squares / len(train))
        # A constant's mean is rounded, and what is left of it would become noise.
        self.deviation[self.deviation <= 1e-12 * np.abs(self.mean)] = 1.0
        # The training features have mean 0, so the intercept is the targets' mean.
        self.intercept = sum(wanted(rows).sum(axis=0) for rows in parts) / len(train)
        values, self.directions = self._decompose(train)
        self.products = sum(
            self._scores(train[rows]).T @ (wanted(rows) - self.intercept)
            for rows in parts
        )
        self.shrunk = 1.0 / (np.maximum(values, 0.0) + RIDGE_PENALTIES[:, None])
        self.errors = np.zeros((len(RIDGE_PENALTIES), len(self.intercept)))
        for rows in parts:
            scores, residual = self._scores(train[rows]), wanted(rows) - self.intercept
            squared_scores = np.square(scores)
            for penalty, shrunk in enumerate(self.shrunk):
                left = residual - scores @ (shrunk[:, None] * self.products)
                # Left out, a row's residual grows by its share in its prediction.
                leverage = squared_scores @ shrunk + 1.0 / len(train)
                left /= (1.0 - leverage)[:, None]
                self.errors[penalty] += np.square(left).sum(axis=0) / len(train)

    def outputs(self, features, penalty):
        """Return what is predicted of rows with the penalty of this index."""
        weights = self.directions @ (self.shrunk[penalty][:, None] * self.products)
        return self._standard(features) @ weights + self.intercept

    def _decompose(self, train):
        """Squared singular values of the standardised features, and directions."""
        if len(train) < train.shape[1]:
            # No more directions than images: quicker than all of them, and enough.
            standard = self._standard(train)
            _, values, directions = np.linalg.svd(standard, full_matrices=False)
            return np.square(values), directions.T
        gram = np.zeros((train.shape[1], train.shape[1]))
        for rows in _parts(train):
            part = self._standard(train[rows])
            gram += part.T @ part
        return np.linalg.eigh(gram)

    def _standard(self, features):
        return (features.astype("float64") - self.mean) / self.deviation

    def _scores(self, features):
        return self._standard(features) @ self.directions


def _parts(features):
    """Slices that go through the rows."""
    starts = range(0, len(features), _NUM_ROWS)
    return [slice(start, start + _NUM_ROWS) for start in starts]


def _all_finite(features):
    return all(np.isfinite(features[rows]).all() for rows in _parts(features))


def _check_pair(features, labels, name):
    """Features as a matrix and labels as a vector, of one length."""
    features = check_features(features, f"{name}_features")
    return features, check_labels(labels, len(features), f"{name}_labels")
