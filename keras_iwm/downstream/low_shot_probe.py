"""Accuracy with few labels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_number
from keras_iwm.array_arguments import (
    check_features,
    check_labels,
    check_train_and_test_labels,
)
from keras_iwm.evaluation.probes import ridge_accuracy
from keras_iwm.type_aliases import Array


def low_shot_probe(
    train_features: Array,
    train_labels: Array,
    test_features: Array,
    test_labels: Array,
    fraction: float = 0.01,
    num_draws: int = 5,
    seed: int = 0,
    probe: Callable[..., float | dict[str, Any]] = ridge_accuracy,
) -> dict[str, Any]:
    """Accuracy of a probe that sees a fraction of the labels, over several draws.

    Each draw takes a random part of the training images of every class, of
    `fraction * count` images rounded, and at least 1, and the probe is trained on
    these alone. Which few images they are changes the accuracy, so it is given with
    its spread over draws; what it spreads by says which differences mean anything.

    Source: I-JEPA, arXiv 2301.08243, probes with 1 % of ImageNet's labels (12 or 13
    images a class). Pass the features that
    `keras_iwm.evaluation.extract_features(model.feature_encoder, images)` returns.

    Args:
        train_features: Array or tensor of shape `(num_train, feature_dim)`.
        train_labels: Integers of shape `(num_train,)`, 0 or more.
        test_features: Array or tensor of shape `(num_test, feature_dim)`.
        test_labels: Integers of shape `(num_test,)`, of classes in `train_labels`.
        fraction: Float above 0 and at most 1, the share of labels, such as 0.01 or
            0.1.
        num_draws: Positive integer, how many random parts to try.
        seed: Non-negative integer, decides the parts. The same for all encoders that
            are compared.
        probe: Function of the four arrays that returns an accuracy, or a dictionary
            with the key `"accuracy"`. Defaults to
            `keras_iwm.evaluation.ridge_accuracy`, which needs no held-out images,
            since it chooses its penalty by leave-one-out in closed form. `linear_probe`
            holds a tenth out, which of few images says little; it cannot choose
            with 1 image a class.

    Returns:
        Dictionary with `accuracy`, the mean over draws; `standard_deviation` over
        draws (of these accuracies, not of their mean); `accuracies`, a list of one a
        draw; and `num_train`, the images that each draw trains on.

    Raises:
        ValueError: If shapes or labels do not fit, `fraction` is not in (0, 1], or
            `probe` cannot be called.

    Example:

    ```python
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 200)
    features = generator.normal(size=(200, 8)) + labels[:, None]
    results = keras_iwm.downstream.low_shot_probe(
        features[:150], labels[:150], features[150:], labels[150:], fraction=0.1
    )
    results["accuracy"], results["standard_deviation"]
    ```
    """
    train_features = check_features(train_features, "train_features")
    train_labels = check_labels(train_labels, len(train_features), "train_labels")
    test_features = check_features(test_features, "test_features")
    test_labels = check_labels(test_labels, len(test_features), "test_labels")
    check_train_and_test_labels(train_labels, test_labels)
    if as_number("fraction", fraction, 0.0, 1.0) == 0:
        raise ValueError(
            "`fraction` must be above 0 and at most 1, such as 0.01 for 1 % of the "
            f"labels. Received: fraction={fraction}."
        )
    num_draws, seed = as_count("num_draws", num_draws), as_count("seed", seed, 0)
    if not callable(probe):
        raise ValueError(
            "`probe` must be a function such as keras_iwm.evaluation.ridge_accuracy "
            f"or keras_iwm.downstream.linear_probe. Received: {probe!r}."
        )
    accuracies = []
    for draw in range(num_draws):
        rows = _draw(train_labels, fraction, np.random.default_rng([seed, draw]))
        result = probe(
            train_features[rows], train_labels[rows], test_features, test_labels
        )
        if isinstance(result, dict):
            result = result["accuracy"]
        accuracies.append(float(result))
    return {
        "accuracy": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies)),
        "accuracies": accuracies,
        "num_train": len(rows),
    }


def _draw(labels, fraction, generator):
    """Rows of a random part of every class, in the order they are stored."""
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(members)))
        rows.append(generator.choice(members, count, replace=False))
    return np.sort(np.concatenate(rows))
