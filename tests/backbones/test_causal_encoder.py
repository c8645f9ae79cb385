"""The encoder with causal attention, against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import CausalEncoder, LastBlocks, ViTEncoder
from keras_iwm.evaluation import extract_features
from keras_iwm.views import patch_order

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype("float32")


def small_encoder(**changes):
    arguments = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "mlp_dim": 24}
    encoder = ViTEncoder((16, 24), 8, **{**arguments, **changes})
    rng = np.random.default_rng(1)
    for weight in encoder.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    return encoder


@pytest.mark.parametrize("prefix_lengths", [None, np.array([1, 4], "int32")])
def test_a_sequence_equals_the_numpy_forward_pass(prefix_lengths):
    causal_encoder = CausalEncoder(small_encoder())
    patch_ids = np.array([[5, 0, 3, 1, 2], [1, 2, 4, 0, 5]], "int32")
    outputs = causal_encoder.encode_sequence(IMAGES, patch_ids, prefix_lengths)
    expected = numpy_vit.encode_sequence(
        causal_encoder, IMAGES, patch_ids, prefix_lengths
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs), expected["norm"], atol=2e-5
    )


@pytest.mark.parametrize("order", ["raster", "spiral", [5, 0, 3, 1, 2, 4], "random"])
def test_features_stand_on_the_grid_whatever_the_order(order):
    causal_encoder = CausalEncoder(small_encoder(), order)
    ids = patch_order((2, 3), "raster" if order == "random" else order)
    expected = numpy_vit.encode_sequence(causal_encoder, IMAGES, np.tile(ids, (2, 1)))
    outputs = causal_encoder(IMAGES, return_intermediates=True)
    assert list(outputs) == ["stem", "block_00", "block_01", "norm"]
    for name, tokens in outputs.items():
        for place, patch in enumerate(ids):
            found = ops.convert_to_numpy(tokens)[:, patch]
            np.testing.assert_allclose(found, expected[name][:, place + 1], atol=2e-5)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(causal_encoder(IMAGES)),
        ops.convert_to_numpy(outputs["norm"]),
    )


@pytest.mark.parametrize("order", ["raster", "snake", "spiral", "morton"])
def test_a_changed_patch_changes_nothing_before_it(order):
    causal_encoder = CausalEncoder(small_encoder(), order)
    ids = patch_order((2, 3), order)
    before = ops.convert_to_numpy(causal_encoder(IMAGES))
    for place, patch in enumerate(ids):
        changed = IMAGES.copy()
        row, column = divmod(patch, 3)
        changed[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
        after = ops.convert_to_numpy(causal_encoder(changed))
        np.testing.assert_array_equal(after[:, ids[:place]], before[:, ids[:place]])
        assert (after[:, ids[place:]] != before[:, ids[place:]]).any(axis=-1).all()


def test_patches_one_by_one_are_the_sequence():
    causal_encoder = CausalEncoder(small_encoder(), "spiral")
    ids = np.tile(causal_encoder.patch_ids, (2, 1))
    expected = ops.convert_to_numpy(causal_encoder.encode_sequence(IMAGES, ids))
    token, cache = causal_encoder.start_cache(2)
    pixels = (IMAGES / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for index in range(6):
        latent, cache = causal_encoder.extend(token, cache, index)
        found = ops.convert_to_numpy(latent)[:, 0]
        np.testing.assert_allclose(found, expected[:, index], atol=1e-5)
        row, column = divmod(ids[0, index], 3)
        patch = pixels[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        patch = patch.reshape(2, -1).astype("float32")
        token = causal_encoder.embed_patch(patch, ids[:, index])


def test_all_that_takes_an_encoder_makes_features_with_it():
    causal_encoder = CausalEncoder(small_encoder(), "spiral")
    latents = ops.convert_to_numpy(causal_encoder(IMAGES))
    features = extract_features(causal_encoder, IMAGES)
    np.testing.assert_allclose(features, latents.mean(axis=1), atol=1e-5)
    blocks = extract_features(causal_encoder, IMAGES, blocks=("block_00", "block_01"))
    mean = extract_features(LastBlocks(causal_encoder, 2), IMAGES)
    np.testing.assert_allclose(mean, (blocks[:, :16] + blocks[:, 16:]) / 2, atol=1e-5)
    last = extract_features(LastBlocks(causal_encoder.encoder, 1), IMAGES)
    expected = extract_features(causal_encoder.encoder, IMAGES, blocks=("block_01",))
    np.testing.assert_allclose(last, expected, atol=1e-5)


def test_both_are_saved_with_their_weights(tmp_path):
    model = LastBlocks(CausalEncoder(small_encoder(), "snake"), 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(one(IMAGES)) for one in (model, loaded)), atol=1e-6
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`encoder` must have no prefix tokens"):
        CausalEncoder(small_encoder(num_prefix_tokens=1))
    with pytest.raises(ValueError, match="`order` must be one of"):
        CausalEncoder(small_encoder(), [0, 1, 2])
    with pytest.raises(ValueError, match="`images` must have the encoder's size"):
        CausalEncoder(small_encoder())(IMAGES[:, :, :16])
    with pytest.raises(ValueError, match="`num_last` must be an integer from 1 to 2"):
        LastBlocks(small_encoder(), 3)
