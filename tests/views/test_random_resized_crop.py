"""Random resized crop against Pillow, and its geometry."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.views import RandomResizedCrop


def make_images(batch_size, height, width):
    """Whole numbers from 0 to 255."""
    return np.random.default_rng(0).integers(
        0, 256, (batch_size, height, width, 3), "uint8"
    )


def apply(crop, images, parameters):
    """NumPy in, NumPy out."""
    result = crop.apply(
        keras.ops.convert_to_tensor(images, dtype="float32"),
        keras.ops.convert_to_tensor(parameters, dtype="float32"),
    )
    return keras.ops.convert_to_numpy(result)


# Shrinking, growing, both at once, and the image as it is.
@pytest.mark.parametrize(
    ("image_size", "new_size"),
    [((40, 56), (16, 16)), ((20, 30), (32, 48)), ((50, 12), (16, 24)), ((24, 24), 24)],
)
def test_crop_agrees_with_pillow(image_size, new_size):
    height, width = image_size
    crop = RandomResizedCrop(new_size, flip_probability=0.5)
    images = make_images(6, height, width)
    uniforms = np.random.default_rng(1).random((6, 5), "float32")
    uniforms[:, 4] = [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]
    parameters = keras.ops.convert_to_numpy(crop.sample(uniforms, height, width))
    result = apply(crop, images, parameters)
    for index, (image, parameter) in enumerate(zip(images, parameters, strict=True)):
        top, left = np.round(parameter[0] * height), np.round(parameter[1] * width)
        bottom = top + np.round(parameter[2] * height)
        right = left + np.round(parameter[3] * width)
        box = Image.fromarray(image).crop((left, top, right, bottom))
        expected = box.resize(crop.image_size[::-1], Image.Resampling.BILINEAR)
        if index % 2 == 0:
            expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        # Pillow rounds to whole numbers after each of its two passes.
        np.testing.assert_allclose(result[index], np.asarray(expected), atol=1.0)


def test_identity_parameters_leave_pixels_unchanged():
    crop = RandomResizedCrop((9, 14))
    images = make_images(2, 9, 14).astype("float32")
    result = apply(crop, images, [crop.identity] * 2)
    np.testing.assert_array_equal(result, images)


def test_flip_mirrors_left_to_right():
    crop = RandomResizedCrop((9, 14))
    images = make_images(2, 9, 14).astype("float32")
    result = apply(crop, images, [(0, 0, 1, 1, 1), (0, 0, 1, 1, 0)])
    np.testing.assert_array_equal(result[0], images[0, :, ::-1])
    np.testing.assert_array_equal(result[1], images[1])


def test_pixels_outside_the_box_do_not_bleed_in():
    images = np.full((1, 32, 32, 3), 255.0)
    images[:, 8:24, 8:24] = 10.0
    for new_size in (4, 16, 40):
        result = apply(RandomResizedCrop(new_size), images, [(0.25, 0.25, 0.5, 0.5, 0)])
        np.testing.assert_allclose(result, 10.0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64), (64, 40), (32, 128)])
def test_boxes_keep_to_area_aspect_ratio_and_image(height, width):
    crop = RandomResizedCrop(32, flip_probability=0.3)
    uniforms = np.random.default_rng(2).random((4000, 5), "float32")
    top, left, box_height, box_width, flip = keras.ops.convert_to_numpy(
        crop.sample(uniforms, height, width)
    ).T
    assert min(top.min(), left.min()) >= 0.0
    assert (top + box_height).max() <= 1.0 + 1e-6
    assert (left + box_width).max() <= 1.0 + 1e-6
    ratio = box_width * width / (box_height * height)
    assert ratio.min() > 3 / 4 - 1e-5
    assert ratio.max() < 4 / 3 + 1e-5
    area = box_height * box_width
    assert area.max() <= 1.0 + 1e-6
    wanted = 0.3 + 0.7 * uniforms[:, 0]
    if (height, width) == (32, 128):
        # An image four times as wide as high holds at most a third of itself.
        np.testing.assert_allclose(area, np.minimum(wanted, 1 / 3), atol=1e-5)
    else:
        # The ratio's range holds the image's own or comes near: the area is met
        # wherever a box of it can be inside the image.
        image_ratio = width / height
        limit = min(1.0, (4 / 3) / image_ratio, image_ratio / (3 / 4))
        np.testing.assert_allclose(area, np.minimum(wanted, limit), atol=1e-5)
    # 4000 draws of a coin: three standard deviations are 0.022.
    assert abs(flip.mean() - 0.3) < 0.022


def test_aspect_ratio_is_log_uniform_where_every_box_fits():
    crop = RandomResizedCrop(32, scale=(0.3, 0.5))
    uniforms = np.random.default_rng(3).random((100, 5), "float32")
    parameters = keras.ops.convert_to_numpy(crop.sample(uniforms, 64, 64))
    expected = np.exp(np.log(3 / 4) + np.log(16 / 9) * uniforms[:, 1])
    np.testing.assert_allclose(parameters[:, 3] / parameters[:, 2], expected, rtol=1e-5)


def test_a_box_of_less_than_a_pixel_is_one_pixel():
    crop = RandomResizedCrop(4, scale=(0.001, 0.001), aspect_ratio=(1, 1))
    images = make_images(1, 8, 8).astype("float32")
    parameters = crop.sample(np.zeros((1, 5), "float32"), 8, 8)
    result = apply(crop, images, parameters)
    np.testing.assert_allclose(result[0], np.broadcast_to(images[0, 0, 0], (4, 4, 3)))


def test_configuration_comes_back():
    crop = RandomResizedCrop((24, 32), (0.5, 0.9), (0.9, 1.1), 0.25)
    description = keras.saving.serialize_keras_object(crop)
    copy = keras.saving.deserialize_keras_object(description)
    assert copy.get_config() == crop.get_config()
    assert copy.get_config() == {
        "image_size": (24, 32),
        "scale": (0.5, 0.9),
        "aspect_ratio": (0.9, 1.1),
        "flip_probability": 0.25,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_size": 0},
        {"image_size": (32, 32, 3)},
        {"image_size": 32.5},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 1.5)},
        {"scale": (0.9, 0.5)},
        {"aspect_ratio": (0.0, 1.0)},
        {"flip_probability": 2.0},
    ],
)
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}`"):
        RandomResizedCrop(**{"image_size": 32, **arguments})
