"""A linear classifier on frozen features, with its rate and penalty searched."""

import itertools

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from keras_iwm.array_arguments import (
    check_features,
    check_labels,
    check_train_and_test_labels,
)
from keras_iwm.datasets.epoch_ordered_dataset import check_integer


@keras.saving.register_keras_serializable(package="keras_iwm")
class LinearProbe(keras.Model):
    """Linear classifier of features that it standardises itself.

    `linear_probe` trains it and returns it; it is then used on features of the same
    encoder and blocks, or saved. It is a float32 model under any global policy.

    Args:
        feature_dim: Positive integer, number of features of an image.
        num_classes: Integer of at least 2.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        features: Tensor of shape `(batch_size, feature_dim)`.

    Returns:
        Tensor of shape `(batch_size, num_classes)`, the logits.

    Raises:
        ValueError: If a size is too small or features have another shape.

    Example:

    ```python
    probe = keras_iwm.downstream.LinearProbe(feature_dim=8, num_classes=3)
    logits = probe(keras.random.normal((4, 8)))  # (4, 3)
    ```
    """

    def __init__(self, feature_dim, num_classes, **kwargs):
        check_integer("feature_dim", feature_dim, 1)
        check_integer("num_classes", num_classes, 2)
        # Whatever the global policy: half precision would save nothing here.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.feature_dim = int(feature_dim)
        self.num_classes = int(num_classes)
        self.mean = self.add_weight(
            (self.feature_dim,), "zeros", trainable=False, name="mean"
        )
        self.deviation = self.add_weight(
            (self.feature_dim,), "ones", trainable=False, name="deviation"
        )
        self.kernel = self.add_weight(
            (self.feature_dim, self.num_classes), "zeros", name="kernel"
        )
        self.bias = self.add_weight((self.num_classes,), "zeros", name="bias")
        self.built = True

    def call(self, features):
        """Standardise the features and return logits."""
        if len(features.shape) != 2 or features.shape[1] != self.feature_dim:
            raise ValueError(
                f"`features` must have shape (batch_size, {self.feature_dim}), like "
                f"those the probe was trained on. Received: {tuple(features.shape)}."
            )
        features = (features - self.mean) / self.deviation
        return ops.matmul(features, self.kernel) + self.bias

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "feature_dim": self.feature_dim,
            "num_classes": self.num_classes,
        }


def linear_probe(
    train_features,
    train_labels,
    test_features,
    test_labels,
    learning_rates=(0.003, 0.01, 0.03, 0.1, 0.3),
    weight_decays=(0.0, 1e-4, 1e-3, 1e-2),
    epochs=100,
    batch_size=256,
    seed=0,
    verbose=True,
):
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
    on average-pooled latents. Pass the teacher's features, those that
    `keras_iwm.evaluation.extract_features(model.target_encoder, images)` returns,
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
        `learning_rate`, `weight_decay`, `probe` (a `LinearProbe`, uncompiled), and
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
    check_integer("epochs", epochs, 1)
    check_integer("batch_size", batch_size, 1)
    check_integer("seed", seed, 0)
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
    heads = _ParallelHeads(*_statistics(train), num_classes, pairs)
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


class _ParallelHeads(keras.Model):
    """Linear classifiers side by side, each with its own rate and decay."""

    def __init__(self, mean, deviation, num_classes, pairs):
        super().__init__(dtype="float32", name="parallel_heads")
        rates, decays = np.array(pairs).T
        self.rates = ops.convert_to_tensor(rates, "float32")
        self.rated_decays = ops.convert_to_tensor(rates * decays, "float32")
        self.mean = ops.convert_to_tensor(mean, "float32")
        self.deviation = ops.convert_to_tensor(deviation, "float32")
        self.kernel = self.add_weight(
            (len(pairs), len(mean), num_classes),
            "zeros",
            regularizer=self.penalty,
            name="kernel",
        )
        self.bias = self.add_weight((len(pairs), num_classes), "zeros", name="bias")
        self.built = True

    def call(self, features):
        """Logits of shape (batch_size, num_heads, num_classes)."""
        features = (features - self.mean) / self.deviation
        return ops.einsum("bf,hfc->bhc", features, self.kernel) + self.bias

    def cross_entropy(self, labels, logits):
        """Cross entropy of each image, summed over heads in their rates."""
        labels = ops.cast(ops.reshape(labels, (-1, 1, 1)), "int32")
        of_label = ops.take_along_axis(logits, labels, axis=2)[..., 0]
        losses = ops.logsumexp(logits, axis=2) - of_label
        return ops.sum(self.rates * losses, axis=1)

    def penalty(self, kernel):
        """Half the squared kernels, summed over heads in their rates and decays."""
        squares = ops.sum(ops.square(kernel), axis=(1, 2))
        return ops.sum(self.rated_decays * squares) / 2

    def probe(self, index):
        """One head as a model of its own."""
        probe = LinearProbe(*self.kernel.shape[1:], name="linear_probe")
        probe.mean.assign(self.mean)
        probe.deviation.assign(self.deviation)
        probe.kernel.assign(self.kernel[index])
        probe.bias.assign(self.bias[index])
        return probe


class _FeatureBatches(keras.utils.PyDataset):
    """Batches of some rows of features for all epochs, shuffled by the seed alone.

    Keras takes them as one long epoch, since beginning an epoch costs it more than
    many steps of a linear layer.
    """

    def __init__(self, features, labels, rows, epochs, batch_size, seed):
        super().__init__()
        self.features = features
        self.labels = labels.astype("int32")
        self.rows = rows
        self.seed = seed
        # Equal batches, since one of few images would count as much as the others.
        self.batches_per_epoch = -(-len(rows) // batch_size)
        self.epochs = epochs
        self._shuffled = (None, None)

    def __len__(self):
        return self.epochs * self.batches_per_epoch

    def __getitem__(self, index):
        epoch, batch = divmod(index, self.batches_per_epoch)
        if self._shuffled[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._shuffled = (epoch, generator.permutation(self.rows))
        rows = np.array_split(self._shuffled[1], self.batches_per_epoch)[batch]
        return self.features[rows], self.labels[rows]


def _train(heads, features, labels, chosen, epochs, batch_size, seed, verbose):
    """Fit all heads on the chosen features."""
    rows = np.flatnonzero(chosen)
    batches = _FeatureBatches(features, labels, rows, epochs, batch_size, seed)
    rate = keras.optimizers.schedules.CosineDecay(1.0, len(batches))
    heads.compile(keras.optimizers.SGD(rate, momentum=0.9), loss=heads.cross_entropy)
    steps = tqdm(total=len(batches), desc="Linear probe", disable=not verbose, delay=3)
    with steps:
        advance = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: steps.update()
        )
        heads.fit(batches, shuffle=False, verbose=0, callbacks=[advance])


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
