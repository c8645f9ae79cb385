import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import Brightness, Flip, GaussianBlur, Grayscale, Solarization
from keras_iwm.actions.transform_sequence import TransformSequence
from keras_iwm.views import RandomResizedCrop, TwoViewGenerator


def random_images(count=4, size=(20, 28), num_channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *size, num_channels)).astype("uint8")


def run(generator, images, training=False):
    views = generator(images, training=training)
    return {name: ops.convert_to_numpy(view) for name, view in views.items()}


def test_views_are_crops_and_operations_of_the_slices_of_one_draw():
    transforms = ([Brightness(0.4)], [Grayscale(0.5), Flip()])
    generator = TwoViewGenerator((16, 24), transforms, seed=3)
    drawn = []
    draw = keras.random.uniform

    def record(*args, **kwargs):
        drawn.append(ops.convert_to_numpy(draw(*args, **kwargs)))
        return ops.convert_to_tensor(drawn[-1])

    images = random_images()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.random, "uniform", record)
        views = run(generator, images, training=True)
    (uniforms,) = drawn
    assert uniforms.shape == (4, (5 + 2) + (5 + 2 + 2))
    crop = RandomResizedCrop((16, 24), scale=(0.08, 1.0))
    start = 0
    for key, operations in zip(("first", "second"), transforms, strict=True):
        boxes = crop.sample(uniforms[:, start : start + 5], 20, 28)
        expected = crop.apply(ops.convert_to_tensor(images / 255.0, "float32"), boxes)
        sequence = TransformSequence("transforms", operations)
        stop = start + 5 + sequence.num_draws
        parameters = sequence.sample(uniforms[:, start + 5 : stop])
        expected = 255 * ops.convert_to_numpy(sequence.apply(expected, parameters))
        np.testing.assert_allclose(views[key], expected, atol=1e-3)
        start = stop


def test_default_operations_are_the_papers():
    generator = TwoViewGenerator(224)
    assert generator.crop.scale == (0.08, 1.0)
    assert generator.crop.flip_probability == 0.5
    blur, solarization = [], []
    for transforms in generator.transforms:
        jitter, grey, blurring, solarizing = transforms
        assert jitter.ranges == {
            **{"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1},
        }
        assert jitter.probability == 0.8
        assert isinstance(grey, Grayscale)
        assert grey.probability == 0.2
        assert isinstance(blurring, GaussianBlur)
        assert isinstance(solarizing, Solarization)
        assert blurring.sigma == (0.1, 2.0)
        blur.append(blurring.probability)
        solarization.append(solarizing.probability)
    assert (blur, solarization) == ([1.0, 0.1], [0.0, 0.2])


@pytest.mark.parametrize("num_channels", [1, 5])
def test_any_number_of_channels_has_views(num_channels):
    generator = TwoViewGenerator(16, num_channels=num_channels, value_range=(0, 1))
    images = random_images(num_channels=num_channels) / 255
    views = run(generator, images.astype("float32"), training=True)
    for view in views.values():
        assert view.shape == (4, 16, 16, num_channels)
        assert view.dtype == np.float32
        assert 0 <= view.min() < view.max() <= 1
    assert np.abs(views["first"] - views["second"]).max() > 0.1


def test_draws_are_new_in_training_and_the_same_otherwise():
    generator, images = TwoViewGenerator(16, seed=3), random_images()
    one, two = (run(generator, images)["first"] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    one, two = (run(generator, images, training=True)["first"] for _ in range(2))
    assert np.abs(one - two).max() > 1


def test_images_without_crop_or_operations_come_back_twice():
    generator = TwoViewGenerator((20, 28), transforms=((), ()), crop=None)
    images = random_images()
    for view in run(generator, images, training=True).values():
        np.testing.assert_allclose(view, images, atol=1e-4)


def test_bad_arguments_are_refused():
    for transforms in ("papers", [Brightness()], ([],) * 3):
        with pytest.raises(ValueError, match="`transforms` must be two lists"):
            TwoViewGenerator(16, transforms)
    with pytest.raises(ValueError, match="Grayscale needs images of 3 channels"):
        TwoViewGenerator(16, ([Grayscale()], []), num_channels=4)
    with pytest.raises(ValueError, match="`crop` must resize"):
        TwoViewGenerator(16, crop=RandomResizedCrop(8))
    with pytest.raises(ValueError, match="`images`"):
        TwoViewGenerator(16)(random_images(num_channels=4))
