"""Pixels of patches, in the order of the kernel of a patch embedding."""

import numpy as np
from keras import ops

from keras_iwm.layers import (
    PatchEmbedding,
    images_of_patches,
    normalize_patches,
    patch_pixels,
)

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 8, 12, 3)).astype("float32")


def test_patches_stand_in_the_order_of_the_embedding():
    patches = ops.convert_to_numpy(patch_pixels(IMAGES, 4))
    expected = [
        IMAGES[:, row : row + 4, column : column + 4].reshape(2, -1)
        for row in (0, 4)
        for column in (0, 4, 8)
    ]
    np.testing.assert_array_equal(patches, np.stack(expected, axis=1))
    embedding = PatchEmbedding(4, 8)
    tokens = ops.convert_to_numpy(embedding(IMAGES))
    kernel = ops.convert_to_numpy(embedding.projection.kernel)
    np.testing.assert_allclose(tokens, patches @ kernel, rtol=1e-4, atol=1e-3)


def test_images_come_back_from_their_patches():
    images = images_of_patches(patch_pixels(IMAGES, 4), (2, 3), 4)
    np.testing.assert_array_equal(ops.convert_to_numpy(images), IMAGES)


def test_patches_are_normalised_by_their_own_mean_and_unbiased_variance():
    patches = ops.convert_to_numpy(patch_pixels(IMAGES, 4)).astype("float64")
    mean = patches.mean(-1, keepdims=True)
    variance = patches.var(-1, ddof=1, keepdims=True)
    expected = (patches - mean) / np.sqrt(variance + 1e-6)
    outputs = ops.convert_to_numpy(normalize_patches(patch_pixels(IMAGES, 4)))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert not np.any(ops.convert_to_numpy(normalize_patches(np.ones((2, 3, 4)))))
