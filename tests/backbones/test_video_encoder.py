import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import VideoEncoder, ViTEncoder

CLIPS = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 24, 3), "uint8")


def small_encoder(**changes):
    arguments = {
        **{"image_size": (16, 24), "patch_size": 8, "hidden_dim": 24},
        **{"num_layers": 2, "num_heads": 2, "num_frames": 6, "tubelet_size": 3},
    }
    encoder = VideoEncoder(**{**arguments, **changes})
    # Zeros and ones would hide a bias or a scale that is not used.
    rng = np.random.default_rng(1)
    for weight in encoder.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    return encoder


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


def test_every_stage_equals_the_numpy_forward_pass():
    encoder = small_encoder()
    assert encoder.grid_size == (2, 2, 3)
    outputs = encoder(CLIPS, return_intermediates=True)
    expected = numpy_vit.encode(encoder, CLIPS)
    for name, tokens in outputs.items():
        np.testing.assert_allclose(numpy_of(tokens), expected[name], atol=1e-5)


def test_gathered_patches_equal_the_numpy_forward_pass():
    encoder = small_encoder()
    patch_ids = np.array([[11, 0, 7], [3, 8, 4]])
    outputs = numpy_of(encoder(CLIPS, patch_ids=patch_ids))
    expected = numpy_vit.encode(encoder, CLIPS, patch_ids)["norm"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_hidden_frames_cannot_reach_the_context():
    encoder = small_encoder()
    changed = CLIPS.copy()
    changed[:, 3:] = 0
    ids = np.array([[0, 4, 2]] * 2)
    np.testing.assert_array_equal(
        numpy_of(encoder(CLIPS, patch_ids=ids)),
        numpy_of(encoder(changed, patch_ids=ids)),
    )


def test_a_still_clip_has_the_latents_of_an_image_encoder():
    """Where the kernels of a tubelet's frames add up to that of an image's patch."""
    encoder = small_encoder(num_frames=3, positions="learned")
    still = ViTEncoder((16, 24), 8, 24, 2, 2, positions="learned")
    weights = numpy_vit.weights_of(encoder)
    for weight in still.weights:
        value = weights[weight.path.removeprefix(f"{still.name}/")]
        if "patch_embedding/projection/kernel" in weight.path:
            value = value.reshape(3, -1, 24).sum(axis=0)
        weight.assign(value.astype("float32"))
    images = CLIPS[:, 0]
    expected = numpy_of(still(images))
    clips = np.repeat(images[:, None], 3, axis=1)
    np.testing.assert_allclose(numpy_of(encoder(clips)), expected, atol=1e-5)
    np.testing.assert_allclose(numpy_of(encoder(images)), expected, atol=1e-5)
    found = encoder.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_lengths_and_sizes_see_resampled_positions():
    encoder = small_encoder()
    clips = np.repeat(CLIPS, 2, axis=2)[:, :3]  # one tubelet, four rows, three columns
    stem = numpy_of(encoder(clips, return_intermediates=True)["stem"])
    weights = numpy_vit.weights_of(encoder)
    x = (clips / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel = weights["patch_embedding/projection/kernel"]
    plain = numpy_vit.cut(x, 8, 3) @ kernel + weights["patch_embedding/projection/bias"]
    table = (stem - plain)[0].reshape(4, 3, 24)
    frequencies = 1 / 10000 ** (np.arange(4) / 4)
    # The middle of two tubelets, row centres of four on the extent of two.
    np.testing.assert_allclose(
        table[1, 2, :4], np.sin(0.5 * frequencies), atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(
        table[1, 2, 8:12], np.sin(0.25 * frequencies), atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(table[1, 2, 20:], np.cos(2 * frequencies), atol=1e-5)


def test_a_table_of_three_axes_is_resampled_along_each():
    encoder = small_encoder(positions="learned")
    table = np.arange(12.0).reshape(2, 2, 3, 1) * np.ones(24)
    encoder.position_embedding.table.assign(table.reshape(12, 24).astype("float32"))
    found = numpy_of(encoder.position_embedding.positions_of((1, 2, 3)))
    np.testing.assert_allclose(found, table.mean(axis=0).reshape(6, 24), atol=1e-5)


def test_clips_of_several_lengths_are_predicted_in_turn():
    encoder = small_encoder()
    for clips in (CLIPS, CLIPS[:, :3], CLIPS[:, 0], CLIPS):
        found = encoder.predict(clips, verbose=0)
        np.testing.assert_allclose(found, numpy_of(encoder(clips)), atol=1e-5)


def test_symbolic_clips_have_the_shapes_of_real_ones():
    encoder = small_encoder()
    for shape in ((None, 6, 16, 24, 3), (None, 16, 24, 3)):
        count = encoder.compute_output_spec(keras.KerasTensor(shape)).shape[1]
        assert count == (12 if len(shape) == 5 else 6)
    assert encoder.compute_output_spec(
        keras.KerasTensor((None, None, 16, 24, 3))
    ).shape == (None, None, 24)
    assert encoder.input_signature[0].shape == (None, 6, 16, 24, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_encoder(num_frames=5), "num_frames=5, tubelet_size=3"),
        (lambda: small_encoder(image_size=20), "`patch_size`"),
        (lambda: small_encoder()(CLIPS[..., :2]), "must be clips"),
        (lambda: small_encoder()(CLIPS[:, :4]), "num_frames=4"),
        (lambda: small_encoder().predict(CLIPS / 255), "almost black"),
        (lambda: small_encoder().predict(CLIPS[..., :2]), "num_clips, frames"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
