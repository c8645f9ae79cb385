"""Operations for images of any channels, chains and action spaces."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import (
    ActionSpace,
    Brightness,
    ChannelDropout,
    ChannelGain,
    ChannelOffset,
    ColorJitter,
    Contrast,
    GaussianBlur,
    Grayscale,
    Hue,
    Saturation,
    Solarization,
    TransformChain,
)


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def images(channels):
    return np.random.default_rng(0).random((2, 5, 6, channels), "float32")


def test_gain_offset_and_dropout_in_closed_form():
    pixels = images(4)
    parameters = np.random.default_rng(1).uniform(-0.5, 1.5, (2, 4)).astype("float32")
    rows = parameters[:, None, None]
    gained = numbers(ChannelGain(4).apply(ops.convert_to_tensor(pixels), parameters))
    np.testing.assert_allclose(gained, np.clip(pixels * rows, 0, 1), atol=1e-6)
    moved = numbers(ChannelOffset(4).apply(ops.convert_to_tensor(pixels), parameters))
    np.testing.assert_allclose(moved, np.clip(pixels + rows, 0, 1), atol=1e-6)
    dropped = ChannelDropout(4).apply(
        ops.convert_to_tensor(pixels), np.float32([[0], [3]])
    )
    expected = pixels.copy()
    expected[1, ..., 2] = 0
    np.testing.assert_array_equal(numbers(dropped), expected)
    uniforms = np.linspace(0, 1, 9, endpoint=False, dtype="float32")[:, None]
    drawn = numbers(ChannelDropout(3).draw(ops.convert_to_tensor(uniforms)))
    np.testing.assert_array_equal(drawn[:, 0], np.repeat([1, 2, 3], 3))
    drawn = numbers(ChannelGain(2, 0.2).sample(np.float32([[0, 0, 0.75]])))
    np.testing.assert_allclose(drawn, [[0.8, 1.1]], atol=1e-6)
    drawn = numbers(ChannelOffset(2, 0.2).sample(np.float32([[0, 0, 0.75]])))
    np.testing.assert_allclose(drawn, [[-0.2, 0.1]], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 12])
def test_operations_without_colours_take_any_channels(channels):
    pixels = images(channels)
    contrast = Contrast().apply(ops.convert_to_tensor(pixels), np.float32([[0.5], [1]]))
    expected = pixels.copy()
    expected[0] = 0.5 * pixels[0] + 0.5 * pixels[0].mean()
    np.testing.assert_allclose(numbers(contrast), expected, atol=1e-6)
    brighter = Brightness().apply(
        ops.convert_to_tensor(pixels), np.float32([[0.5], [1]])
    )
    expected = pixels * np.float32([0.5, 1])[:, None, None, None]
    np.testing.assert_allclose(numbers(brighter), expected, atol=1e-6)
    for operation in (GaussianBlur(), Solarization()):
        changed = operation.apply(ops.convert_to_tensor(pixels), np.float32([[1], [0]]))
        each = [
            operation.apply(
                ops.convert_to_tensor(pixels[..., i : i + 1]), np.float32([[1], [0]])
            )
            for i in range(channels)
        ]
        expected = np.concatenate([numbers(one) for one in each], axis=-1)
        np.testing.assert_allclose(numbers(changed), expected, atol=1e-5)


def test_a_chain_of_the_four_steps_is_colour_jitter():
    jitter = ColorJitter(probability=0.5)
    chain = TransformChain([Brightness(), Contrast(), Saturation(), Hue()], 0.5)
    uniforms = np.random.default_rng(2).random((6, 5), "float32")
    for one, other in (
        (jitter.parameters, chain.parameters),
        (jitter.identity, chain.identity),
        (jitter.scales, chain.scales),
    ):
        assert one == other
    parameters = numbers(jitter.sample(uniforms))
    np.testing.assert_array_equal(parameters, numbers(chain.sample(uniforms)))
    skipped = uniforms[:, 0] >= 0.5
    assert 0 < skipped.sum() < 6
    np.testing.assert_array_equal(parameters[skipped], [[1, 1, 1, 0]] * skipped.sum())
    rebuilt = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(chain)
    )
    assert rebuilt.get_config() == chain.get_config()
    with pytest.raises(ValueError, match="probability=1.*Hue"):
        TransformChain([Hue(probability=0.5)])
    with pytest.raises(ValueError, match="`transforms`.*brightness"):
        TransformChain([Brightness(), Brightness()])
    with pytest.raises(ValueError, match="at least one"):
        TransformChain([])


def test_default_actions_fit_the_channels():
    gray = ActionSpace.default((32, 32), 1)
    assert gray.slots == (
        "brightness", "contrast", "offset_0", "gaussian_blur", "solarization",
    )  # fmt: skip
    bands = ActionSpace.default((32, 32), 12, jitter_strength=2.0)
    assert bands.action_dim == 2 + 12 + 12 + 3
    assert bands.slots[-3:] == ("gaussian_blur", "solarization", "channel_dropout")
    np.testing.assert_allclose(bands.shared.scales[:3], [1.6, 1.6, 0.8])
    rgb = ActionSpace.default((32, 32))
    assert rgb.shared.transforms[0].get_config() == ColorJitter().get_config()
    for channels in (1, 3, 4, 12):
        ActionSpace.default((32, 32), channels).check_channels(channels)


@pytest.mark.parametrize("operation", [ColorJitter(), Hue(), Saturation(), Grayscale()])
def test_operations_on_colours_refuse_other_channels_by_name(operation):
    name = type(operation).__name__
    for space in (ActionSpace([operation]), ActionSpace([], [operation])):
        space.check_channels(3)
        with pytest.raises(ValueError, match=f"{name} needs images of 3 .*Contrast"):
            space.check_channels(1)
    with pytest.raises(ValueError, match="ChannelGain needs images of 4"):
        ActionSpace([ChannelGain(4)]).check_channels(3)


def test_actions_lead_from_source_to_target():
    space = ActionSpace(
        [ColorJitter(), ChannelGain(3, 0.5)], [Grayscale(), GaussianBlur()]
    )
    assert space.slots == (
        "brightness", "contrast", "saturation", "hue", "gain_0", "gain_1", "gain_2",
        "grayscale", "gaussian_blur",
    )  # fmt: skip
    uniforms = np.random.default_rng(3).random(
        (2, 5, space.shared.num_draws), "float32"
    )
    source, target = (numbers(space.shared.sample(part)) for part in uniforms)
    scales = np.float32([0.8, 0.8, 0.4, 0.2, 1, 1, 1])
    touched = numbers(space.destructive.touched(np.float32([[0, 0.3], [1, 0]])))
    np.testing.assert_array_equal(touched, [[0, 1], [1, 0]])
    action = numbers(space.between(source[:2], target[:2], touched))
    np.testing.assert_allclose(
        action[:, :7], ((target - source) / scales)[:2], atol=1e-6
    )
    np.testing.assert_array_equal(action[:, 7:], touched)
    assert np.abs(numbers(space.between(source, target))[:, 7:]).max() == 0
    identity = numbers(space.identity(2))
    np.testing.assert_array_equal(identity, [[1, 1, 1, 0, 1, 1, 1]] * 2)
    np.testing.assert_array_equal(
        numbers(space.between(identity, identity)), numbers(space.null(2))
    )
    swept = space.sweep("gain_1", 5)
    np.testing.assert_allclose(swept[:, 5], [0.5, 0.75, 1, 1.25, 1.5])
    np.testing.assert_array_equal(np.delete(swept, 5, axis=1), [[1, 1, 1, 0, 1, 1]] * 5)
    rows = space.rows(("hue", "gain_2"), np.float32([[0.1, 2.0]]))
    np.testing.assert_allclose(rows, [[1, 1, 1, 0.1, 1, 1, 2]])
    with pytest.raises(ValueError, match="`slot`"):
        space.sweep("grayscale")
    with pytest.raises(ValueError, match="gamma"):
        space.rows(("gamma",), np.zeros((1, 1)))
    middles = space.destructive.middles()
    np.testing.assert_allclose(middles, [[1, 0], [0, 1.05]], atol=1e-6)
