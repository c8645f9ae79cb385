"""A linear classifier on frozen features, with its rate and penalty searched."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.array_arguments import (
    check_features,
    check_labels,
    check_train_and_test_labels,
)
from keras_iwm.backend.random_streams import kept_streams
from keras_iwm.downstream.feature_batches import FeatureBatches, fit_with_progress
from keras_iwm.downstream.parallel_heads import ParallelHeads
from keras_iwm.type_aliases import Array


def linear_probe(
    train_features: Array,
    train_labels: Array,
    test_features: Array,
    test_labels: Array,
    learning_rates: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.3),
    weight_decays: Sequence[float] = (0.0, 1e-4, 1e-3, 1e-2),
    epochs: int = 100,
    batch_size: int = 256,
    seed: int = 0,
    verbose: bool = True,
) -> dict[str, Any]:
    """Train a linear classifier on frozen features and test it.

    Multinomial logistic regression by stochastic gradient descent with momentum 0.9
    and a learning rate that falls to zero on a cosine, on features standardised by
    the training features. All pairs of learning rate and weight decay are trained
    at once, as parallel heads that see the same batches. Their losses,
    `learning_rate * (cross entropy + weight_decay / 2 * sum(kernel ** 2))`, are added
    and minimised with the rate 1, which gives each head its own rate and decay
    exactly.

    The reported head is never chosen on the test set. A tenth of the training images
    of every class (at least 1 of a class of 2 or more) is held out from training,
    and the head with the best accuracy there is taken; ties go to the smallest
    learning rate, then to the largest weight decay. With one pair there is nothing
    to choose, and all training images train: to train the chosen head on them all,
    call this again with its pair.

    Source: the protocol of image world models, arXiv 2403.00504, is a linear layer
    on average-pooled latents. Pass the features that
    `keras_iwm.evaluation.extract_features(model.feature_encoder, images)` returns,
    or those of several of its blocks.

    Args:
        train_features: Array or tensor of shape `(num_train, feature_dim)`.
        train_labels: Integers of shape `(num_train,)`, 0 or more, of at least 2
            classes.
        test_features: Array or tensor of shape `(num_test, feature_dim)`.
        test_labels: Integers of shape `(num_test,)`, of classes in `train_labels`.
        learning_rates: Sequence of positive floats.
        weight_decays: Sequence of floats, 0 or more. The bias is not decayed.
        epochs: Positive integer, passes over the training features.
        batch_size: Positive integer, the most features in a batch; all batches have
            about the same size. With a million images take some thousands.
        seed: Non-negative integer, decides what is held out and the batches.
        verbose: Boolean, whether to show progress once it takes over 3 seconds.

    Returns:
        Dictionary of the chosen head: `accuracy` on the test features,
        `learning_rate`, `weight_decay`, `probe` (a `LinearProbeModel`, uncompiled), and
        `sweep`, a list with a dictionary for each head: `learning_rate`,
        `weight_decay`, `validation_accuracy` (`None` if nothing is held out) and
        `test_accuracy`.

    Raises:
        ValueError: If features or labels do not fit or are not finite, or several
            heads are to be chosen from with 1 image of each class.

    Example:

    ```python
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 100)
    features = generator.normal(size=(100, 8)) + labels[:, None]
    results = keras_iwm.downstream.linear_probe(
        features[:80], labels[:80], features[80:], labels[80:], epochs=5
    )
    results["accuracy"]
    classes = results["probe"].predict(features[80:], verbose=0).argmax(axis=1)
    ```
    """
    train = _as_features(train_features, "train_features")
    test = _as_features(test_features, "test_features")
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            "`train_features` and `test_features` must have as many features. "
            f"Received: {train.shape[1]} and {test.shape[1]}."
        )
    train_labels = check_labels(train_labels, len(train), "train_labels")
    test_labels = check_labels(test_labels, len(test), "test_labels")
    num_classes = check_train_and_test_labels(train_labels, test_labels)
    epochs = as_count("epochs", epochs)
    batch_size = as_count("batch_size", batch_size)
    seed = as_count("seed", seed, 0)
    verbose = as_boolean("verbose", verbose)
    # In the order of preference, since the first of equal heads is taken.
    pairs = list(
        itertools.product(
            sorted(_as_numbers("learning_rates", learning_rates, lowest=1e-30)),
            sorted(_as_numbers("weight_decays", weight_decays, 0.0), reverse=True),
        )
    )
    held_out = np.zeros(len(train), bool)
    if len(pairs) > 1:
        held_out = _hold_out(train_labels, seed)
    heads = ParallelHeads(*_statistics(train), num_classes, pairs)
    _train(heads, train, train_labels, ~held_out, epochs, batch_size, seed, verbose)
    test_accuracies = _accuracies(heads, test, test_labels, batch_size)
    validation_accuracies, best = [None], 0
    if len(pairs) > 1:
        validation_accuracies = _accuracies(
            heads, train[held_out], train_labels[held_out], batch_size
        )
        best = int(np.argmax(validation_accuracies))
    sweep = [
        {
            "learning_rate": rate,
            "weight_decay": decay,
            "validation_accuracy": validation_accuracy,
            "test_accuracy": test_accuracy,
        }
        for (rate, decay), validation_accuracy, test_accuracy in zip(
            pairs, validation_accuracies, test_accuracies, strict=True
        )
    ]
    return {
        "accuracy": sweep[best]["test_accuracy"],
        "learning_rate": sweep[best]["learning_rate"],
        "weight_decay": sweep[best]["weight_decay"],
        "probe": heads.probe(best),
        "sweep": sweep,
    }


def _train(heads, features, labels, chosen, epochs, batch_size, seed, verbose):
    """Fit all heads on the chosen features."""
    rows = np.flatnonzero(chosen)
    batches = FeatureBatches(features, labels, rows, epochs, batch_size, seed)
    rate = keras.optimizers.schedules.CosineDecay(1.0, len(batches))
    heads.compile(keras.optimizers.SGD(rate, momentum=0.9), loss=heads.cross_entropy)
    with kept_streams(seed):
        fit_with_progress(heads, batches, "Linear probe", verbose)


def _accuracies(heads, features, labels, batch_size):
    """Accuracy of each head, as a list."""
    hits = 0
    for start in range(0, len(features), batch_size):
        batch = slice(start, start + batch_size)
        logits = heads.predict_on_batch(features[batch])
        hits = hits + np.sum(logits.argmax(axis=2) == labels[batch, None], axis=0)
    return (hits / len(features)).tolist()


def _hold_out(labels, seed):
    """Mark a tenth of the images of every class, at least 1 of 2 or more."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = max(1, round(len(members) / 10)) if len(members) > 1 else 0
        held_out[members[:count]] = True
    if not held_out.any():
        raise ValueError(
            "`train_labels` must hold at least 2 images of a class, since the head is "
            "chosen on held-out images. Pass more images, or one learning rate and "
            "one weight decay, or use keras_iwm.evaluation.ridge_accuracy."
        )
    return held_out


def _statistics(features):
    """Mean and deviation of each feature; 1 for the deviation of a constant one."""
    mean = features.mean(axis=0, dtype="float64")
    variance = np.zeros_like(mean)
    # Few rows at a time, since the features may fill half the memory.
    for start in range(0, len(features), 4096):
        differences = features[start : start + 4096] - mean
        variance += np.square(differences).sum(axis=0) / len(features)
    deviation = np.sqrt(variance)
    deviation[deviation <= np.finfo("float32").eps * np.abs(mean)] = 1.0
    return mean.astype("float32"), deviation.astype("float32")


def _as_features(features, name):
    """Features as a float32 matrix of finite numbers."""
    features = check_features(features, name).astype("float32", copy=False)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite. Received NaN or infinity in row "
            f"{int(np.argmin(finite))}. An encoder that gives such features has "
            "diverged."
        )
    return features


def _as_numbers(name, values, lowest):
    """Numbers of a sweep as floats of at least `lowest`."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or not all(lowest <= number < np.inf for number in numbers):
        kind = "positive numbers" if lowest else "numbers of 0 or more"
        raise ValueError(
            f"`{name}` must be a sequence of one or more {kind}. Received: {values!r}."
        )
    return numbers
