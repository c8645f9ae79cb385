import keras
import numpy as np
import pytest

from keras_iwm.datasets import AugmentedImages


def colored_images():
    """Images of one color each, by class: a mixture's share shows in the pixels."""
    labels = np.arange(24) % 3
    colors = 255.0 * np.eye(3, dtype="float32")[labels]
    return np.broadcast_to(colors[:, None, None], (24, 64, 64, 3)).copy(), labels


def test_without_augmentations_images_come_with_one_hot_labels():
    images, labels = colored_images()
    dataset = AugmentedImages(images, labels, 3, batch_size=8)
    batch_images, batch_labels = dataset[1]
    np.testing.assert_array_equal(batch_images, images[dataset.batch_indices(1)])
    np.testing.assert_array_equal(
        batch_labels, np.eye(3)[labels[dataset.batch_indices(1)]]
    )


@pytest.mark.parametrize(
    "mix", [keras.layers.MixUp(0.8, seed=0), keras.layers.CutMix(1.0, seed=0)]
)
def test_mixed_labels_are_the_shares_of_the_pixels(mix):
    dataset = AugmentedImages(*colored_images(), 3, [mix], batch_size=24)
    batch_images, batch_labels = dataset[0]
    shares = batch_images.mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(batch_labels.sum(axis=1), 1.0, atol=1e-5)
    # CutMix computes the share of its box before it is cut at whole pixels.
    np.testing.assert_allclose(batch_labels, shares, atol=0.05)
    assert ((batch_labels > 0.05).sum(axis=1) > 1).any()


def test_augmentations_follow_each_other():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 8, 8, 3)).astype("uint8")
    layers = [
        keras.layers.RandomFlip("horizontal", seed=0),
        keras.layers.RandAugment((0, 255), num_ops=2, factor=0.3, seed=0),
        keras.layers.MixUp(0.8, seed=0),
    ]
    dataset = AugmentedImages(images, np.arange(24) % 3, 3, layers, batch_size=8)
    batch_images, batch_labels = dataset[0]
    assert np.isfinite(batch_images).all()
    assert 0 <= batch_images.min() <= batch_images.max() <= 255.001
    assert np.abs(batch_images - images[dataset.batch_indices(0)]).mean() > 5
    np.testing.assert_allclose(batch_labels.sum(axis=1), 1.0, atol=1e-5)


def test_labels_must_be_classes():
    images, labels = colored_images()
    with pytest.raises(ValueError, match="lie from 0 to 1.*from 0 to 2"):
        AugmentedImages(images, labels, 2, batch_size=8)
    with pytest.raises(ValueError, match="`labels` must be integers"):
        AugmentedImages(images, labels.astype("float32"), 3, batch_size=8)
