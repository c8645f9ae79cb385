"""Gaussian blur against SciPy and scikit-image."""

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.filters import gaussian

from keras_iwm.actions import GaussianBlur


def blur(images, sigmas, largest=2.0):
    """NumPy in, NumPy out."""
    result = GaussianBlur(sigma=(0.1, largest)).apply(
        keras.ops.convert_to_tensor(images, dtype="float32"),
        keras.ops.convert_to_tensor(np.reshape(sigmas, (-1, 1)), dtype="float32"),
    )
    return keras.ops.convert_to_numpy(result)


# The small sizes need several mirror images of each pixel.
@pytest.mark.parametrize(("height", "width"), [(24, 24), (20, 31), (3, 5), (1, 2)])
def test_blur_agrees_with_scipy(height, width):
    sigmas = [0.1, 0.4, 1.0, 2.0]
    images = np.random.default_rng(0).random((4, height, width, 3))
    expected = [
        gaussian_filter(image, (sigma, sigma, 0), mode="reflect", truncate=8)
        for image, sigma in zip(images, sigmas, strict=True)
    ]
    # Ours reaches at least 5 sigma, which holds all but 6e-7 of the weight.
    np.testing.assert_allclose(blur(images, sigmas), expected, atol=3e-6)


def test_blur_agrees_with_scikit_image():
    image = np.random.default_rng(1).random((20, 16, 3))
    expected = gaussian(image, sigma=1.5, mode="reflect", channel_axis=-1)
    # scikit-image cuts at 4 sigma, which drops 6e-5 of the weight on each axis.
    np.testing.assert_allclose(blur(image[None], [1.5])[0], expected, atol=2e-4)


def test_no_blur_is_no_change():
    images = np.random.default_rng(2).random((2, 8, 8, 3)).astype("float32")
    result = blur(images, [0.0, 1.0])
    np.testing.assert_array_equal(result[0], images[0])
    assert np.abs(result[1] - images[1]).max() > 0.1


def test_flat_images_stay_flat_and_means_are_kept():
    images = np.random.default_rng(3).random((2, 12, 12, 3))
    images[0] = 0.3
    result = blur(images, [1.7, 1.7])
    np.testing.assert_allclose(result[0], 0.3, atol=1e-6)
    # Mirrored edges give each pixel the same total weight.
    np.testing.assert_allclose(
        result[1].mean((0, 1)), images[1].mean((0, 1)), atol=1e-5
    )


def test_sigmas_are_uniform_in_their_range():
    transform = GaussianBlur(sigma=(0.4, 1.0), probability=0.5)
    uniforms = np.array([[0.0, 0.0], [0.4, 0.5], [0.6, 0.5]], "float32")
    sigmas = keras.ops.convert_to_numpy(transform.sample(uniforms))
    np.testing.assert_allclose(sigmas[:, 0], [0.4, 0.7, 0.0], atol=1e-6)
    assert transform.scales == (1.0,)


def test_wrong_sigma_is_named():
    for sigma in ((2.0, 0.1), (-1.0, 1.0), 1.0, (0.1, float("inf")), (0.1, 1.0, 2.0)):
        with pytest.raises(ValueError, match="`sigma`"):
            GaussianBlur(sigma=sigma)
