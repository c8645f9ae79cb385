import random
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from keras_iwm.backbones import ViTEncoder
from keras_iwm.datasets import ImageArray, ImageFolder
from keras_iwm.evaluation import (
    compare_features,
    extract_features,
    knn_accuracy,
    ridge_accuracy,
    untrained_copy,
)
from keras_iwm.evaluation.pixel_features import pixel_features
from keras_iwm.evaluation.probes import ridge_predictions
from keras_iwm.metrics import feature_spread, rank_me

PROBES = sys.modules[ridge_predictions.__module__]


def features_and_labels(num_images, num_classes, seed):
    """Features with some signal: classes overlap, votes tie now and then."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images) * 3 + 1
    features = generator.normal(size=(num_images, 12)).astype("float32")
    features[:, 0] += 0.3 * labels
    return 2 + features, labels


@pytest.mark.parametrize(("num_classes", "k"), [(2, 4), (5, 10), (5, 1)])
def test_knn_equals_scikit_learn(num_classes, k):
    train, train_labels = features_and_labels(80, num_classes, 0)
    test, test_labels = features_and_labels(60, num_classes, 1)
    classifier = KNeighborsClassifier(k, metric="cosine").fit(train, train_labels)
    expected = classifier.score(test, test_labels)
    assert 0.2 < expected < 0.95
    accuracy = knn_accuracy(train, train_labels, test, test_labels, k)
    assert accuracy == pytest.approx(expected, abs=1e-12)


def test_knn_without_test_images_leaves_one_out():
    features, labels = features_and_labels(50, 4, 2)
    classifier = KNeighborsClassifier(7, metric="cosine")
    scores = cross_val_score(classifier, features, labels, cv=LeaveOneOut())
    assert knn_accuracy(features, labels, k=7) == pytest.approx(scores.mean())


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("num_train", [25, 70, 400])
def test_ridge_equals_scikit_learn(num_classes, num_train):
    train, train_labels = features_and_labels(num_train, num_classes, 3)
    test, test_labels = features_and_labels(60, num_classes, 4)
    train[:, 5] = test[:, 5] = 1.0  # a constant feature is left alone
    scaler = StandardScaler().fit(train.astype("float64"))
    classifier = RidgeClassifierCV(alphas=10.0 ** np.arange(-1, 7))
    classifier.fit(scaler.transform(train), train_labels)
    expected = classifier.score(scaler.transform(test), test_labels)
    accuracy = ridge_accuracy(train, train_labels, test, test_labels)
    assert accuracy == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_train", [25, 70])
def test_the_size_of_the_parts_does_not_matter(num_train, monkeypatch):
    train, train_labels = features_and_labels(num_train, 4, 3)
    test, test_labels = features_and_labels(60, 4, 4)
    train[:, 5] = test[:, 5] = 0.1  # whose mean is not 0.1 to the bit
    values = train[:, :2] ** 2

    def results():
        labelled = train, train_labels, test, test_labels
        accuracies = knn_accuracy(*labelled, k=5), ridge_accuracy(*labelled)
        return accuracies, ridge_predictions(train, values, test)

    whole, predicted = results()
    monkeypatch.setattr(PROBES, "_NUM_ROWS", 7)
    parts, predicted_parts = results()
    assert parts == whole
    np.testing.assert_allclose(predicted_parts, predicted, rtol=1e-8)


def test_pixels_of_large_images_are_means_of_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 48, 2), "uint8")
    blocks = images.reshape(3, 32, 2, 48, 2).mean(axis=2) / 255
    # Three old columns are two new ones.
    left = (blocks[:, :, ::3] + blocks[:, :, 1::3] / 2) / 1.5
    right = (blocks[:, :, 1::3] / 2 + blocks[:, :, 2::3]) / 1.5
    expected = np.stack([left, right], axis=3).reshape(3, -1)
    features = pixel_features(images, (0, 255))
    np.testing.assert_allclose(features, expected, atol=1e-6)
    small = images[:, :20, :20]
    np.testing.assert_allclose(
        pixel_features(small, (0, 255)), small.reshape(3, -1) / 255, atol=1e-6
    )


def test_features_that_are_not_finite_score_nan():
    features, labels = features_and_labels(20, 2, 5)
    features[3, 2] = np.inf
    assert np.isnan(knn_accuracy(features, labels, k=3))
    assert np.isnan(ridge_accuracy(features, labels, features, labels))


def test_bad_features_labels_and_counts_are_refused():
    features, labels = features_and_labels(20, 2, 6)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 19"):
        knn_accuracy(features, labels, k=20)
    with pytest.raises(ValueError, match="train_labels.*shape \\(20,\\)"):
        knn_accuracy(features, labels[:5], k=2)
    with pytest.raises(ValueError, match="as many features"):
        knn_accuracy(features, labels, features[:, :3], labels, k=2)
    with pytest.raises(ValueError, match="train_features"):
        ridge_accuracy(features[:, 0], labels, features, labels)
    with pytest.raises(ValueError, match="2 classes"):
        ridge_accuracy(features, np.ones(20, int), features, labels)


@pytest.fixture(scope="module")
def encoder():
    return ViTEncoder(20, 4, hidden_dim=16, num_layers=1, num_heads=2)


def test_features_are_latents_averaged_over_patches(encoder):
    images = np.random.default_rng(7).integers(0, 256, (5, 20, 20, 3)).astype("uint8")
    features = extract_features(encoder, images, batch_size=2)
    latents = keras.ops.convert_to_numpy(encoder(images, training=False))
    assert features.shape == (5, 16)
    assert features.dtype == np.float32
    assert np.allclose(features, latents.mean(axis=1), atol=1e-5)
    one_batch = extract_features(encoder, images, batch_size=64)
    assert np.allclose(features, one_batch, atol=1e-5)


def test_features_of_blocks_are_put_side_by_side(encoder):
    images = np.random.default_rng(9).integers(0, 256, (5, 20, 20, 3)).astype("uint8")
    tokens = encoder(images, training=False, return_intermediates=True)
    blocks = ("norm", "stem", "block_00")
    expected = np.concatenate(
        [keras.ops.convert_to_numpy(tokens[name]) for name in blocks], axis=2
    )
    weights = encoder.get_weights()
    features = extract_features(encoder, images, 2, blocks=blocks, pooled=False)
    assert features.shape == (5, 25, 48)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)
    pooled = extract_features(encoder, images, 5, blocks=["block_00"])
    np.testing.assert_allclose(pooled, expected.mean(axis=1)[:, 32:], atol=1e-5)
    patches = extract_features(encoder, images, 2, pooled=False)
    np.testing.assert_allclose(patches, expected[..., :16], atol=1e-5)
    np.testing.assert_array_equal(
        patches.mean(axis=1), extract_features(encoder, images, 2)
    )
    for one, two in zip(weights, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("blocks", ["norm", ("block_01",), (), ("norm", "Norm")])
def test_unknown_blocks_are_refused_with_the_known_ones(encoder, blocks):
    with pytest.raises(ValueError, match="'stem', 'block_00', 'norm'"):
        extract_features(encoder, np.zeros((2, 20, 20, 3)), blocks=blocks)


def test_features_of_a_dataset_come_in_its_order(encoder, tmp_path):
    images = np.random.default_rng(10).integers(0, 256, (5, 20, 20, 3)).astype("uint8")
    for name, rows in (("cat", (0, 1, 2)), ("dog", (3, 4))):
        (tmp_path / name).mkdir()
        for row in rows:
            Image.fromarray(images[row]).save(tmp_path / name / f"{row}.png")
    expected = extract_features(encoder, images, 2)
    in_order = {"batch_size": 2, "shuffle": False, "drop_remainder": False}
    folder = ImageFolder(tmp_path, (20, 20), **in_order)
    for dataset in (folder, ImageArray(images, **in_order)):
        np.testing.assert_array_equal(extract_features(encoder, dataset), expected)
    # Also for one that another loop is in the middle of.
    folder.on_epoch_begin()
    folder[0]
    np.testing.assert_array_equal(extract_features(encoder, folder), expected)
    assert np.array_equal(folder[1][1], [0, 1])


def test_datasets_that_leave_out_or_mix_images_are_refused(encoder):
    images = np.zeros((4, 20, 20, 3), "uint8")
    for argument in ("shuffle", "drop_remainder"):
        settings = {"shuffle": False, "drop_remainder": False, argument: True}
        dataset = ImageArray(images, batch_size=2, **settings)
        with pytest.raises(ValueError, match=f"{argument}=True.*Make it with"):
            extract_features(encoder, dataset)
    dataset = ImageArray(images, batch_size=2, shuffle=False, drop_remainder=False)
    dataset.share = (1, 2)
    with pytest.raises(ValueError, match=r"share=\(1, 2\)"):
        extract_features(encoder, dataset)
    with pytest.raises(ValueError, match="ImageFolder or ImageArray.*PyDataset"):
        extract_features(encoder, keras.utils.PyDataset())
    small = ImageArray(images[:, :16], shuffle=False, drop_remainder=False)
    with pytest.raises(ValueError, match="pixels"):
        extract_features(encoder, small)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((20, 20, 3)), "num_images, height, width, 3"),
        (np.zeros((2, 20, 20, 1)), "num_images, height, width, 3"),
        (np.zeros((0, 20, 20, 3)), "num_images, height, width, 3"),
        (np.zeros((2, 24, 20, 3)), r"\(20, 20\) pixels"),
        (np.full((2, 20, 20, 3), np.nan), "NaN or infinity in image 0"),
        (np.full((2, 20, 20, 3), 255.5), r"value_range \(0, 255\)"),
        (np.full((2, 20, 20, 3), -1), r"value_range \(0, 255\)"),
        (np.full((2, 20, 20, 3), "a"), "numbers"),
    ],
)
def test_images_that_do_not_fit_are_refused(encoder, images, message):
    with pytest.raises(ValueError, match=message):
        extract_features(encoder, images)


def test_untrained_copy_has_the_shape_and_not_the_weights(encoder):
    model = SimpleNamespace(encoder=encoder)
    before = encoder.get_weights()
    stream = random.getstate()
    copy = untrained_copy(model)
    # It is the same at every call, and takes nothing from the caller's stream.
    assert random.getstate() == stream
    random.random()
    again = untrained_copy(model).get_weights()
    for one, other in zip(copy.get_weights(), again, strict=True):
        np.testing.assert_array_equal(one, other)
    other = untrained_copy(model, seed=1).get_weights()
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(again, other, strict=True))
    after = copy.get_weights()
    assert [w.shape for w in after] == [w.shape for w in before]
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(after, before, strict=True))
    assert all(
        np.array_equal(a, b) for a, b in zip(before, encoder.get_weights(), strict=True)
    )


def test_features_are_compared_with_untrained_ones_and_with_pixels(encoder):
    generator = np.random.default_rng(8)
    images = generator.integers(0, 256, (30, 20, 20, 3)).astype("uint8")
    labels = generator.integers(0, 2, 30)
    model = SimpleNamespace(
        encoder=encoder, feature_encoder=encoder, value_range=encoder.value_range
    )
    results = compare_features(
        model, images[:20], labels[:20], images[20:], labels[20:], num_neighbors=3
    )
    features = extract_features(encoder, images)
    probed = (features[:20], labels[:20], features[20:], labels[20:])
    pixels = images.reshape(30, -1) / 255.0
    pixels = (pixels[:20], labels[:20], pixels[20:], labels[20:])
    expected = {
        "knn_accuracy": knn_accuracy(*probed, k=3),
        "ridge_accuracy": ridge_accuracy(*probed),
        "knn_pixels": knn_accuracy(*pixels, k=3),
        "ridge_pixels": ridge_accuracy(*pixels),
        "rankme": rank_me(features[20:]),
        "feature_std": feature_spread(features[20:]),
    }
    for key, value in expected.items():
        assert results[key] == pytest.approx(value, rel=1e-4), key
    controls = {"knn_untrained", "ridge_untrained", "rankme_untrained"}
    assert set(results) == set(expected) | controls


@pytest.mark.parametrize("num_train", [25, 200])
def test_ridge_regression_equals_scikit_learn(num_train):
    generator = np.random.default_rng(6)
    features = 2 + generator.normal(size=(num_train + 30, 12))
    values = features @ generator.normal(size=(12, 3)) * [1.0, 0.0, 0.1]
    values += generator.normal(size=values.shape) * [0.01, 1.0, 1.0]
    train, test = features[:num_train], features[num_train:]
    scaler = StandardScaler().fit(train)
    model = RidgeCV(alphas=10.0 ** np.arange(-1, 7), alpha_per_target=True)
    model.fit(scaler.transform(train), values[:num_train])
    assert len(set(model.alpha_)) > 1
    np.testing.assert_allclose(
        ridge_predictions(train, values[:num_train], test),
        model.predict(scaler.transform(test)),
        rtol=1e-8,
    )
