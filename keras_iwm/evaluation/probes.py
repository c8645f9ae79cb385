"""Features of images, and classifiers on them that need no training loop."""

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.evaluation.images import check_features, check_images, check_labels

RIDGE_PENALTIES = 10.0 ** np.arange(-1, 7)


def extract_features(
    encoder, images, batch_size=64, verbose=True, blocks=("norm",), pooled=True
):
    """Latents of images, by default those of the last norm averaged over patches.

    Args:
        encoder: `ViTEncoder`. Pass `model.target_encoder` (the teacher), which is
            what is evaluated and reused, unless you want the student.
        images: Array or tensor of shape `(num_images, height, width, 3)` of the
            encoder's `image_size` and in its `value_range`. Or an `ImageFolder` or
            `ImageArray` with `shuffle=False` and `drop_remainder=False`, for images
            that do not fit into memory: features come in the dataset's order, which
            is that of its `labels`.
        batch_size: Positive integer. The last batch is filled up, so that only one
            shape is compiled. A dataset brings its own.
        verbose: Boolean, whether to show progress once it takes over 3 seconds.
        blocks: Sequence of names of the tokens to take: `"stem"`, `"block_00"`,
            `"block_01"`, ... and `"norm"`, as of the encoder's
            `return_intermediates`. Those of several are concatenated, in this order.
            Only `"norm"` is normalised: standardise the others before a probe.
        pooled: Boolean, whether to average over patches.

    Returns:
        Float32 NumPy array of shape `(num_images, len(blocks) * hidden_dim)`, or if
        not pooled `(num_images, num_patches, len(blocks) * hidden_dim)`. Beside it
        only one batch is held.

    Raises:
        ValueError: If the images do not fit the encoder, a block is unknown, or a
            dataset shuffles, drops or shares out images.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), "uint8")
    keras_iwm.evaluation.extract_features(model.target_encoder, images).shape
    # (8, 96)
    keras_iwm.evaluation.extract_features(
        model.target_encoder, images, blocks=("block_01", "norm"), pooled=False
    ).shape  # (8, 16, 192)
    ```
    """
    blocks = _check_blocks(encoder, blocks)
    # The encoder keeps what it has compiled for the last norm, from call to call.
    model = encoder if blocks == ["norm"] else _Blocks(encoder, blocks)
    fit_encoder = {"image_size": encoder.image_size, "value_range": encoder.value_range}
    is_dataset = isinstance(images, keras.utils.PyDataset)
    if is_dataset:
        num_images, batch_size = _check_dataset(images), images.batch_size
    else:
        images = check_images(images, **fit_encoder)
        num_images = len(images)
    batch_size = min(batch_size, num_images)
    width = encoder.hidden_dim
    shape = () if pooled else (encoder.num_patches,)
    features = np.empty((num_images, *shape, width * len(blocks)), "float32")
    starts = range(0, num_images, batch_size)
    progress = tqdm(starts, "Features", disable=not verbose, delay=3)
    for index, start in enumerate(progress):
        if is_dataset:
            batch = check_images(images.load_batch(index)[0], **fit_encoder)
        else:
            batch = images[start : start + batch_size]
        count = len(batch)
        padding = [(0, batch_size - count)] + [(0, 0)] * 3
        outputs = model.predict_on_batch(np.pad(batch, padding, mode="edge"))
        outputs = [outputs] if model is encoder else outputs
        for block, latents in enumerate(outputs):
            latents = latents[:count].astype("float32")
            columns = slice(block * width, (block + 1) * width)
            features[start : start + count, ..., columns] = (
                np.mean(latents, axis=1) if pooled else latents
            )
    return features


def knn_accuracy(
    train_features, train_labels, test_features=None, test_labels=None, k=10
):
    """Accuracy of a majority vote of the nearest features by cosine similarity.

    Equals scikit-learn's `KNeighborsClassifier(k, metric="cosine")`: every
    neighbour has one vote, and of classes with as many votes the smallest wins.

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
    if not 1 <= k <= len(train) - leave_one_out:
        raise ValueError(
            f"`k` must be from 1 to {len(train) - leave_one_out}, the number of "
            f"neighbours there are. Received: k={k}. Lower it or pass more images."
        )
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return float("nan")
    classes, codes = np.unique(train_labels, return_inverse=True)
    train, test = _unit_length(train), _unit_length(test)
    hits = 0
    # Few rows at a time: all similarities of large sets do not fit into memory.
    for start in range(0, len(test), 1024):
        rows = np.arange(start, min(start + 1024, len(test)))
        similarity = test[rows] @ train.T
        if leave_one_out:
            similarity[rows - start, rows] = -np.inf
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        votes = np.zeros((len(rows), len(classes)), "int64")
        np.add.at(votes, (np.arange(len(rows))[:, None], codes[nearest]), 1)
        hits += np.sum(classes[np.argmax(votes, axis=1)] == test_labels[rows])
    return float(hits / len(test))


def ridge_accuracy(train_features, train_labels, test_features, test_labels):
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


class _Blocks(keras.Model):
    """Tokens after some blocks of an encoder, as a list."""

    def __init__(self, encoder, blocks):
        super().__init__(autocast=False, name="blocks")
        self.encoder = encoder
        self.names = blocks
        self.built = True

    def call(self, images, training=None):
        """Encode images and keep the tokens that are wanted."""
        tokens = self.encoder(images, training=training, return_intermediates=True)
        return [tokens[name] for name in self.names]


def _check_blocks(encoder, blocks):
    """Names of blocks as a list, after checking that the encoder has them."""
    known = ["stem", *(block.name for block in encoder.blocks), "norm"]
    names = [] if isinstance(blocks, str) else list(blocks)
    if not names or any(name not in known for name in names):
        raise ValueError(
            f"`blocks` must be a sequence of one or more of {known}, such as "
            f"('norm',). Received: blocks={blocks!r}."
        )
    return names


def _check_dataset(dataset):
    """Number of images of a dataset that hands out each of them, in order."""
    if not isinstance(dataset, EpochOrderedDataset):
        raise ValueError(
            "`images`, if a dataset, must be a keras_iwm.datasets.ImageFolder or "
            f"ImageArray. Received: {type(dataset).__name__}. Pass its batches one by "
            "one, as arrays."
        )
    if dataset.shuffle or dataset.drop_remainder or dataset.share != (0, 1):
        raise ValueError(
            "`images`, if a dataset, must hand out every image, in order. Received: "
            f"shuffle={dataset.shuffle}, drop_remainder={dataset.drop_remainder}, "
            f"share={dataset.share}. Make it with shuffle=False and "
            "drop_remainder=False, and leave its share at (0, 1)."
        )
    return dataset.num_samples


def _check_pair(features, labels, name):
    """Features as a float64 matrix and labels as a vector, of one length."""
    features = check_features(features, f"{name}_features").astype("float64")
    return features, check_labels(labels, len(features), f"{name}_labels")


def _unit_length(features):
    """Rows divided by their length; rows of zeros stay."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length == 0, 1.0, length)
