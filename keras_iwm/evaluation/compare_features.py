"""Features of a trained encoder beside what they must rise above."""

import keras

from keras_iwm.arguments import as_count, as_object
from keras_iwm.array_arguments import check_labels
from keras_iwm.evaluation.check_images_for import check_images_for
from keras_iwm.evaluation.extract_features import extract_features
from keras_iwm.evaluation.pixel_features import pixel_features
from keras_iwm.evaluation.probes import knn_accuracy, ridge_accuracy
from keras_iwm.evaluation.untrained_copy import untrained_copy
from keras_iwm.metrics.rank_me import feature_spread, rank_me
from keras_iwm.type_aliases import Array


def compare_features(
    model: keras.Model,
    train_images: Array,
    train_labels: Array,
    test_images: Array,
    test_labels: Array,
    num_neighbors: int = 10,
) -> dict[str, float]:
    """Probe the feature encoder, an untrained encoder, and raw pixels.

    A number for the features says something only beside the same number for an
    encoder that has learned nothing and for the pixels themselves. Pixels are those of
    images shrunk to at most 32 to a side: more would take longer than the encoder, and
    hardly be better.

    Args:
        model: `ImageWorldModel`. Its feature encoder (the teacher) is measured, by
            average-pooled latents.
        train_images: Array of shape `(num_images, height, width, num_channels)` of the
            model's `image_size` and in its `value_range`, or of clips for a model that
            takes them; probes are fitted on these.
        train_labels: Integer array of shape `(num_images,)`.
        test_images: Array of images like `train_images`, which the probes classify.
        test_labels: Integer array of shape `(num_images,)`.
        num_neighbors: Positive integer, the neighbours that vote in kNN.

    Returns:
        Dictionary of floats: `knn_accuracy`, `knn_untrained`, `knn_pixels`,
        `ridge_accuracy`, `ridge_untrained`, `ridge_pixels`; and of the features of
        `test_images` `rankme`, `rankme_untrained`, `feature_std`.

    Raises:
        ValueError: If images or labels do not fit.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 32, 32, 3), "uint8")
    labels = generator.integers(0, 2, 40)
    results = keras_iwm.evaluation.compare_features(
        model, images[:30], labels[:30], images[30:], labels[30:]
    )
    ```
    """
    needed = ("feature_encoder", "encoder", "value_range")
    as_object("model", model, needed, "a model such as an ImageWorldModel")
    encoder = model.feature_encoder
    train_images = check_images_for(encoder, train_images, "train_images")
    test_images = check_images_for(encoder, test_images, "test_images")
    check_labels(train_labels, len(train_images), "train_labels")
    check_labels(test_labels, len(test_images), "test_labels")
    as_count("num_neighbors", num_neighbors, 1, len(train_images))
    features = {
        "accuracy": [
            extract_features(model.feature_encoder, images)
            for images in (train_images, test_images)
        ],
        "untrained": [
            extract_features(encoder, images)
            for encoder in [untrained_copy(model)]
            for images in (train_images, test_images)
        ],
        "pixels": [
            pixel_features(images, model.value_range)
            for images in (train_images, test_images)
        ],
    }
    results = {}
    for name, (train, test) in features.items():
        labelled = (train, train_labels, test, test_labels)
        results[f"knn_{name}"] = knn_accuracy(*labelled, num_neighbors)
        results[f"ridge_{name}"] = ridge_accuracy(*labelled)
    results["rankme"] = rank_me(features["accuracy"][1])
    results["rankme_untrained"] = rank_me(features["untrained"][1])
    results["feature_std"] = feature_spread(features["accuracy"][1])
    return results
