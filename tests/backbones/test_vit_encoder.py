import keras
import numpy as np
import pytest
import torch
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import ViTEncoder
from keras_iwm.saving import check_file


def small_encoder(**changes):
    arguments = {
        "image_size": (16, 24),
        "patch_size": 8,
        "hidden_dim": 32,
        "num_layers": 2,
        "num_heads": 4,
        "mlp_dim": 48,
    }
    encoder = ViTEncoder(**{**arguments, **changes})
    # Zeros and ones would hide a bias or a scale that is not used.
    rng = np.random.default_rng(1)
    for weight in encoder.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape).astype("float32"))
    return encoder


def random_images(shape=(2, 16, 24, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def test_every_stage_equals_the_numpy_forward_pass():
    encoder, images = small_encoder(), random_images()
    outputs = encoder(images, return_intermediates=True)
    expected = numpy_vit.encode(encoder, images)
    assert list(outputs) == ["stem", "block_00", "block_01", "norm"]
    for name, tokens in outputs.items():
        np.testing.assert_allclose(
            ops.convert_to_numpy(tokens), expected[name], atol=1e-5, rtol=1e-5
        )


def test_gathered_patches_equal_the_numpy_forward_pass():
    encoder, images = small_encoder(), random_images()
    patch_ids = np.array([[5, 0, 3], [1, 2, 4]])
    outputs = ops.convert_to_numpy(encoder(images, patch_ids=patch_ids))
    expected = numpy_vit.encode(encoder, images, patch_ids)["norm"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_all_patch_ids_in_order_equal_the_whole_image():
    encoder, images = small_encoder(), random_images()
    ids = np.tile(np.arange(6), (2, 1))
    np.testing.assert_allclose(
        ops.convert_to_numpy(encoder(images, patch_ids=ids)),
        ops.convert_to_numpy(encoder(images)),
        atol=1e-6,
    )


def test_masked_patches_cannot_reach_the_context():
    encoder, images = small_encoder(), random_images()
    changed = images.copy()
    changed[:, :, 16:] = 0  # patches 2 and 5
    ids = np.array([[0, 1, 3, 4]] * 2)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(encoder(images, patch_ids=ids)),
        ops.convert_to_numpy(encoder(changed, patch_ids=ids)),
    )


def test_value_ranges_and_integer_images_give_the_same_latents():
    encoder = small_encoder()
    config = {**encoder.get_config(), "value_range": (0, 1)}
    unit = ViTEncoder.from_config(config)
    unit.set_weights(encoder.get_weights())
    images = np.round(random_images())
    latents = ops.convert_to_numpy(encoder(images))
    np.testing.assert_allclose(
        ops.convert_to_numpy(unit(images / 255)), latents, atol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(encoder(images.astype("uint8"))), latents, atol=1e-6
    )


def test_larger_images_see_resampled_positions():
    encoder = small_encoder(image_size=(16, 16))
    images = random_images((2, 32, 16, 3))
    outputs = ops.convert_to_numpy(encoder(images, return_intermediates=True)["stem"])
    # The same embedding without positions, from an image of the native size.
    native = images[:, ::1][:, :16]
    plain = ops.convert_to_numpy(encoder(native, return_intermediates=True)["stem"])
    plain = plain - numpy_vit.positions(2, 2, 32)
    table = (outputs[:, :4] - plain)[0]
    # Row centres of a grid of 4 on the extent of 2: -0.25, 0.25, 0.75, 1.25.
    frequencies = 1 / 10000 ** (np.arange(8) / 8)
    np.testing.assert_allclose(table[0, :8], np.sin(-0.25 * frequencies), atol=1e-5)
    np.testing.assert_allclose(table[2, 8:16], np.cos(0.25 * frequencies), atol=1e-5)


@pytest.mark.parametrize("antialias", [False, True])
def test_a_table_is_resampled_as_torch_does(antialias):
    positions = "learned_antialiased" if antialias else "learned"
    encoder = small_encoder(positions=positions)
    table = encoder.position_embedding.table
    grid = torch.tensor(ops.convert_to_numpy(table)).reshape(1, 2, 3, 32)
    grid = grid.permute(0, 3, 1, 2)
    for size in ((5, 4), (1, 2), (2, 9)):
        resampled = torch.nn.functional.interpolate(
            grid, size=size, mode="bicubic", antialias=antialias
        )
        expected = resampled.permute(0, 2, 3, 1).reshape(-1, 32)
        found = encoder.position_embedding.positions_of(size)
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


def test_prefix_tokens_are_neither_returned_nor_lost():
    encoder, images = small_encoder(num_prefix_tokens=2), random_images()
    outputs = encoder(images, return_intermediates=True)
    spec = encoder.compute_output_spec(
        keras.KerasTensor(images.shape), return_intermediates=True
    )
    assert {n: tuple(t.shape) for n, t in outputs.items()} == {
        name: tensor.shape for name, tensor in spec.items()
    }
    latents = ops.convert_to_numpy(outputs["norm"])
    ids = np.tile(np.arange(6), (2, 1))
    again = ops.convert_to_numpy(encoder(images, patch_ids=ids))
    np.testing.assert_allclose(again, latents, atol=1e-6)
    tokens = encoder.position_embedding.prefix_tokens
    tokens.assign(-ops.convert_to_numpy(tokens))
    assert np.abs(ops.convert_to_numpy(encoder(images)) - latents).max() > 1e-3


def test_columns_first_is_rows_first_with_its_halves_exchanged():
    rows, columns = (
        small_encoder(positions=f"{name}_first").position_embedding.positions_of((2, 3))
        for name in ("rows", "columns")
    )
    rows, columns = ops.convert_to_numpy(rows), ops.convert_to_numpy(columns)
    np.testing.assert_array_equal(rows[:, :16], columns[:, 16:])
    np.testing.assert_array_equal(rows[:, 16:], columns[:, :16])


PUBLISHED_PARTS = {
    **{"positions": "learned", "num_prefix_tokens": 1, "layer_scale": 0.5},
    **{"gated_mlp": True, "epsilon": 1e-4},
}


def test_every_part_of_published_encoders_learns_and_is_saved(tmp_path):
    encoder = small_encoder(remat=True, drop_path_rate=0.2, **PUBLISHED_PARTS)
    images = random_images()
    encoder.compile(keras.optimizers.SGD(0.1), "mse")
    before = [ops.convert_to_numpy(w).copy() for w in encoder.trainable_variables]
    encoder.fit(images, np.zeros((2, 6, 32)), batch_size=2, epochs=2, verbose=0)
    for old, weight in zip(before, encoder.trainable_variables, strict=True):
        assert np.abs(ops.convert_to_numpy(weight) - old).max() > 0, weight.path
    encoder.save(tmp_path / "encoder.keras")
    check_file(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    expected = encoder.predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, atol=1e-6)


def test_remat_gives_the_same_outputs_and_gradients_with_drop_path_on():
    images = random_images()
    results = []
    for remat in (False, True):
        keras.utils.set_random_seed(3)
        encoder = small_encoder(drop_path_rate=0.5, remat=remat, num_layers=3)
        head = keras.Sequential([encoder, keras.layers.Flatten()])
        head.compile(keras.optimizers.SGD(0.1), "mse")
        head.fit(images, np.zeros((2, 192)), batch_size=2, epochs=2, verbose=0)
        results.append(head.get_weights())
    for plain, again in zip(*results, strict=True):
        np.testing.assert_allclose(plain, again, atol=1e-6)


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    encoder = small_encoder(drop_path_rate=0.5, num_layers=2)
    images = np.repeat(random_images()[:1], 200, axis=0)
    outputs = encoder(images, training=True, return_intermediates=True)
    first = ops.convert_to_numpy(outputs["block_00"])
    second = ops.convert_to_numpy(outputs["block_01"])
    change = np.abs(second - first).max(axis=(1, 2))
    # Both branches are dropped with probability a half each.
    assert 0.15 < np.mean(change < 1e-6) < 0.35
    # The first block's rate is 0.
    assert np.abs(first - first[:1]).max() < 1e-6


def test_frozen_encoder_stays_frozen_through_its_config():
    encoder = small_encoder(drop_path_rate=0.1)
    assert len(encoder.trainable_variables) == len(encoder.weights) == 2 * 13 + 4
    encoder.trainable = False
    rebuilt = ViTEncoder.from_config(encoder.get_config())
    assert encoder.trainable_variables == rebuilt.trainable_variables == []
    assert all(not weight.trainable for weight in rebuilt.weights)
    rebuilt.trainable = True
    assert len(rebuilt.trainable_variables) == 30


def test_config_holds_every_argument():
    encoder = small_encoder(drop_path_rate=0.2, remat=True, value_range=(-1, 1))
    config = encoder.get_config()
    rebuilt = ViTEncoder.from_config(config)
    assert rebuilt.get_config() == config
    assert config["mlp_dim"] == 48
    assert config["image_size"] == (16, 24)


def test_saved_encoder_gives_the_same_latents(tmp_path):
    encoder, images = small_encoder(), random_images()
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), encoder.predict(images, verbose=0), atol=1e-6
    )


def test_bfloat16_computes_near_float32_and_keeps_float32_weights():
    encoder, images = small_encoder(), random_images()
    half = ViTEncoder.from_config({**encoder.get_config(), "dtype": "mixed_bfloat16"})
    half.set_weights(encoder.get_weights())
    latents = half(images)
    assert keras.backend.standardize_dtype(latents.dtype) == "bfloat16"
    assert {weight.dtype for weight in half.weights} == {"float32"}
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(latents, "float32")),
        ops.convert_to_numpy(encoder(images)),
        atol=0.1,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 7}, "patch_size"),
        ({"hidden_dim": 30}, "multiple of 4"),
        ({"num_heads": 5}, "num_heads"),
        ({"value_range": (1, 0)}, "value_range"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
        ({"image_size": (16, 0)}, "image_size"),
        ({"positions": "bicubic"}, "positions"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_encoder(**changes)


@pytest.mark.parametrize(
    "shape", [(16, 24, 3), (2, 16, 24, 1), (2, 16, 20, 3), (2, 3, 16, 24)]
)
def test_wrong_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"images|multiples"):
        small_encoder()(np.zeros(shape, "float32"))


def test_sizes_can_take_turns():
    encoder = small_encoder()
    for side in (16, 24, 16, 40):
        images = random_images((2, side, 24, 3))
        np.testing.assert_allclose(
            encoder.predict(images, verbose=0),
            ops.convert_to_numpy(encoder(images)),
            atol=1e-5,
        )
