"""Colour operations against Pillow, scikit-image and closed forms."""

import inspect

import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from skimage.color import hsv2rgb, rgb2hsv

from keras_iwm.actions import (
    Brightness,
    ColorJitter,
    Contrast,
    GaussianBlur,
    Grayscale,
    Hue,
    Saturation,
    Solarization,
)

# Pillow works on whole numbers: it rounds once, or truncates.
PILLOW = 1.01 / 255
# Contrast rounds its pivot, saturation its luma, before the blend is rounded.
PILLOW_TWICE = 2.01 / 255


def make_images(batch_size=3, height=12, width=10):
    """Whole numbers from 0 to 255, every level of chroma."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size, height, width, 3), "uint8")
    images[0, :3] = images[0, :3, :, :1]  # grey rows
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images


def apply(transform, images, parameters):
    """NumPy in, NumPy out."""
    images = keras.ops.convert_to_tensor(images, dtype="float32")
    parameters = keras.ops.convert_to_tensor(parameters, dtype="float32")
    return keras.ops.convert_to_numpy(transform.apply(images, parameters))


def luma(images):
    """ITU-R 601 luma."""
    return images @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize(
    ("transform", "enhance", "tolerance"),
    [
        (Brightness(), ImageEnhance.Brightness, PILLOW),
        (Contrast(), ImageEnhance.Contrast, PILLOW_TWICE),
        (Saturation(), ImageEnhance.Color, PILLOW_TWICE),
    ],
)
def test_factors_agree_with_pillow(transform, enhance, tolerance):
    images = make_images()
    factors = [0.6, 1.0, 1.4]
    result = apply(transform, images / 255.0, np.array(factors)[:, None])
    for image, factor, ours in zip(images, factors, result, strict=True):
        expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor)) / 255.0
        np.testing.assert_allclose(ours, expected, atol=tolerance)


def test_contrast_and_saturation_are_blends_with_luma():
    images = make_images() / 255.0
    factors = np.array([0.0, 0.7, 1.4])
    broadcast = factors[:, None, None, None]
    mean = luma(images).mean(axis=(1, 2))[:, None, None, None]
    # float32 arithmetic against float64.
    np.testing.assert_allclose(
        apply(Contrast(), images, factors[:, None]),
        np.clip(mean + broadcast * (images - mean), 0, 1),
        atol=1e-6,
    )
    grey = luma(images)[..., None]
    np.testing.assert_allclose(
        apply(Saturation(), images, factors[:, None]),
        np.clip(grey + broadcast * (images - grey), 0, 1),
        atol=1e-6,
    )


def test_hue_turns_as_in_hsv():
    images = make_images() / 255.0
    shifts = np.array([-0.5, 0.1, 1 / 3])
    hsv = rgb2hsv(images)
    hsv[..., 0] = (hsv[..., 0] + shifts[:, None, None]) % 1.0
    # A shift in float32 is off by 3e-8 turns, six times that in a channel.
    np.testing.assert_allclose(
        apply(Hue(), images, shifts[:, None]), hsv2rgb(hsv), atol=2e-6
    )


def test_hue_of_a_third_turns_red_to_green_and_leaves_grey():
    images = np.array([[[[0.8, 0.1, 0.1], [0.4, 0.4, 0.4]]]])
    result = apply(Hue(), images, [[1 / 3]])
    np.testing.assert_allclose(
        result[0, 0], [[0.1, 0.8, 0.1], [0.4, 0.4, 0.4]], atol=1e-6
    )


def test_hue_turns_colors_between_which_its_cases_change():
    # Red, yellow, green, cyan, blue, magenta, pale and dark, and what is next to them.
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)]
    colors = 0.2 + 0.5 * np.array([corners, np.array(corners) * 0.5 + 0.5])
    colors = np.stack([colors, colors + 1e-6 * np.arange(3)])
    shifts = np.arange(-6, 7) / 12 + np.array([[0.0], [0.03]])
    shifts = np.clip(shifts.ravel(), -0.5, 0.5)
    images = np.repeat(colors.reshape(1, 4, 6, 3), len(shifts), axis=0)
    hsv = rgb2hsv(images)
    hsv[..., 0] = (hsv[..., 0] + shifts[:, None, None]) % 1.0
    # A shift in float32 is off by 3e-8 turns, six times that in a channel.
    np.testing.assert_allclose(
        apply(Hue(), images, shifts[:, None]), hsv2rgb(hsv), atol=2e-6
    )


def test_grayscale_agrees_with_pillow():
    images = make_images()
    result = apply(Grayscale(), images / 255.0, np.ones((3, 1)))
    for image, ours in zip(images, result, strict=True):
        expected = np.asarray(Image.fromarray(image).convert("L"))[..., None] / 255.0
        np.testing.assert_allclose(ours, np.repeat(expected, 3, -1), atol=PILLOW)


@pytest.mark.parametrize("threshold", [64, 128])
def test_solarization_agrees_with_pillow(threshold):
    images = make_images()
    # Pillow inverts whole numbers from the threshold up: nothing is rounded.
    solarization = Solarization(threshold=(threshold - 0.5) / 255)
    result = apply(solarization, images / 255.0, np.ones((3, 1)))
    for image, ours in zip(images, result, strict=True):
        expected = ImageOps.solarize(Image.fromarray(image), threshold)
        np.testing.assert_allclose(ours, np.asarray(expected) / 255.0, atol=1e-6)


def test_default_solarization_inverts_from_the_middle_up():
    images = np.array([0.0, 0.25, 0.4999, 0.5, 0.75, 1.0]).reshape(1, 1, 2, 3)
    result = apply(Solarization(), images, [[1.0]])
    np.testing.assert_allclose(result.ravel(), [0, 0.25, 0.4999, 0.5, 0.25, 0])


def test_color_jitter_is_its_four_steps_clipped_after_each():
    images = make_images() / 255.0
    parameters = np.array([[1.4, 0.6, 1.2, 0.1], [0.6, 1.4, 0.8, -0.1], [1, 1, 1, 0]])
    expected = images
    for index, step in enumerate((Brightness(), Contrast(), Saturation(), Hue())):
        expected = apply(step, expected, parameters[:, index : index + 1])
    result = apply(ColorJitter(), images, parameters)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.min() >= 0.0
    assert result.max() <= 1.0
    # Brightness 1.4 saturates pixels, so the order and the clipping matter.
    unclipped = np.clip(images * 1.4, 0, None)[0]
    assert unclipped.max() > 1.0


def test_color_jitter_draws_within_its_ranges_and_passes_one_gate():
    jitter = ColorJitter(probability=0.8)
    uniforms = np.random.default_rng(0).random((4000, jitter.num_draws), "float32")
    uniforms[:, 0] = (np.arange(4000) + 0.5) / 4000
    parameters = keras.ops.convert_to_numpy(jitter.sample(uniforms))
    skipped = uniforms[:, 0] >= 0.8
    assert skipped.sum() == 800
    np.testing.assert_array_equal(parameters[skipped], [[1.0, 1.0, 1.0, 0.0]] * 800)
    drawn = parameters[~skipped]
    # 3200 uniform draws come within 0.01 of either end of a range of 0.8.
    np.testing.assert_allclose(drawn.min(0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    np.testing.assert_allclose(drawn.max(0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    np.testing.assert_allclose(drawn.mean(0), [1.0, 1.0, 1.0, 0.0], atol=0.02)
    # The four are drawn apart.
    correlation = np.corrcoef(drawn.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.06


def test_strength_multiplies_the_four_ranges():
    jitter = ColorJitter(strength=2.0)
    np.testing.assert_allclose(jitter.scales, [1.6, 1.6, 0.8, 0.4])
    low = keras.ops.convert_to_numpy(jitter.sample(np.zeros((1, 5), "float32")))
    np.testing.assert_allclose(low, [[0.2, 0.2, 0.6, -0.2]], atol=1e-6)


@pytest.mark.parametrize(
    "transform",
    [
        Brightness(),
        Contrast(),
        Saturation(),
        Hue(),
        ColorJitter(),
        Grayscale(),
        GaussianBlur(),
        Solarization(),
    ],
    ids=lambda transform: transform.name,
)
class TestEveryTransform:
    def test_identity_gives_the_pixels_back(self, transform):
        images = make_images() / 255.0
        parameters = np.repeat([transform.identity], 3, axis=0)
        result = apply(transform, images, parameters)
        # Hue goes through HSV and back; all others are exact.
        tolerance = 1e-6 if transform.name in ("hue", "color_jitter") else 0.0
        np.testing.assert_allclose(result, images.astype("float32"), atol=tolerance)

    def test_each_image_has_its_own_draw_and_result(self, transform):
        transform = type(transform).from_config(
            {**transform.get_config(), "probability": 1.0}
        )
        uniforms = np.full((2, transform.num_draws), 0.9, "float32")
        uniforms[1, 1:] = 0.2
        uniforms[1, 0] = 0.0
        parameters = keras.ops.convert_to_numpy(transform.sample(uniforms))
        images = np.repeat(make_images()[1:2] / 255.0, 2, axis=0)
        both = apply(transform, images, parameters)
        for index in range(2):
            alone = apply(transform, images[:1], parameters[index : index + 1])
            np.testing.assert_allclose(both[index], alone[0], atol=1e-6)
        if transform.name not in ("grayscale", "solarization"):
            assert np.abs(parameters[0] - parameters[1]).min() > 0.0
            assert np.abs(both[0] - both[1]).max() > 0.01

    def test_gate_opens_for_its_share(self, transform):
        transform = type(transform).from_config(
            {**transform.get_config(), "probability": 0.3}
        )
        uniforms = np.random.default_rng(1).random(
            (1000, transform.num_draws), "float32"
        )
        uniforms[:, 0] = (np.arange(1000) + 0.5) / 1000
        parameters = keras.ops.convert_to_numpy(transform.sample(uniforms))
        touched = (parameters != np.float32(transform.identity)).any(axis=1)
        assert touched.sum() == 300
        assert touched[:300].all()

    def test_draws_differ_by_at_most_the_scales(self, transform):
        uniforms = np.random.default_rng(2).random(
            (2000, transform.num_draws), "float32"
        )
        parameters = keras.ops.convert_to_numpy(transform.sample(uniforms))
        spread = (parameters.max(0) - parameters.min(0)) / np.array(transform.scales)
        assert np.all(spread <= 1.0 + 1e-6)
        assert np.all(spread > 0.95)

    def test_result_stays_in_range_on_a_non_square_image(self, transform):
        images = make_images(4, 9, 17) / 255.0
        uniforms = np.random.default_rng(3).random((4, transform.num_draws), "float32")
        uniforms[:, 0] = 0.0
        parameters = keras.ops.convert_to_numpy(transform.sample(uniforms))
        result = apply(transform, images, parameters)
        assert result.shape == (4, 9, 17, 3)
        assert result.min() >= 0.0
        assert result.max() <= 1.0


@pytest.mark.parametrize(
    "transform",
    [
        Brightness(range=0.3, probability=0.7),
        Contrast(range=0.1, probability=0.6),
        Saturation(range=0.9, probability=0.5),
        Hue(range=0.25, probability=0.4),
        ColorJitter(0.1, 0.2, 0.3, 0.05, probability=0.9, strength=1.5),
        Grayscale(probability=0.3),
        GaussianBlur(sigma=(0.5, 1.5), probability=0.1),
        Solarization(threshold=0.7, probability=0.6),
    ],
    ids=lambda transform: transform.name,
)
def test_configuration_comes_back(transform):
    description = keras.saving.serialize_keras_object(transform)
    copy = keras.saving.deserialize_keras_object(description)
    assert type(copy) is type(transform)
    assert copy.get_config() == transform.get_config()
    assert copy.scales == transform.scales
    # The configuration holds every argument of the constructor, and no more.
    arguments = list(inspect.signature(type(transform).__init__).parameters)[1:]
    assert sorted(arguments) == sorted(transform.get_config())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Brightness(range=1.1), "range"),
        (lambda: Contrast(range=-0.1), "range"),
        (lambda: Saturation(range="much"), "range"),
        (lambda: Hue(range=0.6), "range"),
        (lambda: Grayscale(probability=1.5), "probability"),
        (lambda: Solarization(threshold=128), "threshold"),
        (lambda: ColorJitter(hue=0.7), "hue"),
        (lambda: ColorJitter(strength=3.0), "brightness"),
        (lambda: ColorJitter(strength=float("nan")), "strength"),
    ],
)
def test_wrong_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()
