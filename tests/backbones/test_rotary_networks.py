"""Encoders and predictors whose attention turns queries and keys."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.backbones import (
    CausalEncoder,
    VideoEncoder,
    ViTEncoder,
    WorldModelPredictor,
    save_transformers,
)
from keras_iwm.models import ImageWorldModel

RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (2, 4, 8, 12, 3), "uint8")
on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same on each backend"
)
KINDS = pytest.mark.parametrize("kind", ["rotary", "rotary_scaled", "rotary_tiled"])


def filled(model):
    """A model whose biases and norms are not at their start."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape).astype("float32"))
    return model


def small_encoder(kind, is_video=True, **arguments):
    sizes = {"image_size": (8, 12), "patch_size": 4, "hidden_dim": 32}
    sizes |= {"num_layers": 2, "num_heads": 2, "positions": kind, **arguments}
    if not is_video:
        return filled(ViTEncoder(**sizes))
    return filled(VideoEncoder(num_frames=4, tubelet_size=2, **sizes))


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(
    ("kind", "is_video", "num_prefix_tokens"),
    [
        ("rotary", True, 0),
        ("rotary_tiled", True, 2),
        ("rotary_scaled", False, 2),
        pytest.param("rotary", False, 2, marks=on_torch),
    ],
)
def test_every_stage_equals_the_numpy_forward_pass(kind, is_video, num_prefix_tokens):
    encoder = small_encoder(kind, is_video, num_prefix_tokens=num_prefix_tokens)
    images = CLIPS if is_video else CLIPS[:, 0]
    outputs = encoder(images, return_intermediates=True)
    expected = numpy_vit.encode(encoder, images)
    for name, tokens in outputs.items():
        np.testing.assert_allclose(numpy_of(tokens), expected[name], atol=5e-5)
    patch_ids = np.array([[5, 0, 3], [2, 4, 1]])
    gathered = encoder(images, patch_ids=patch_ids)
    expected = numpy_vit.encode(encoder, images, patch_ids)["norm"]
    np.testing.assert_allclose(numpy_of(gathered), expected, atol=5e-5)


@on_torch
@KINDS
def test_places_on_other_grids_count_on(kind):
    encoder = small_encoder(kind)
    clips = RNG.integers(0, 256, (1, 6, 12, 8, 3), "uint8")
    expected = numpy_vit.encode(encoder, clips)["norm"]
    np.testing.assert_allclose(numpy_of(encoder(clips)), expected, atol=5e-5)
    if kind == "rotary_scaled":
        return
    # An image stands where the first frames of a clip do.
    ids = np.tile(np.arange(6), (2, 1))
    still = np.repeat(CLIPS[:, :1], 4, axis=1)
    np.testing.assert_allclose(
        numpy_of(encoder(CLIPS[:, 0])),
        numpy_of(encoder(still, patch_ids=ids)),
        atol=1e-5,
    )


@on_torch
@KINDS
def test_only_rotations_know_distances_alone(kind):
    encoder = small_encoder(kind)
    clips = np.concatenate([CLIPS, CLIPS], axis=1)  # the same, and then again
    first, second = (
        numpy_of(encoder(clips, patch_ids=np.tile(ids, (2, 1))))
        for ids in (np.arange(12), np.arange(12, 24))
    )
    difference = np.abs(first - second).max()
    assert difference > 1e-2 if kind == "rotary_tiled" else difference < 5e-5


@pytest.mark.parametrize(
    ("kind", "conditioning", "grid_size"),
    [
        pytest.param("rotary", "none", (2, 3), marks=on_torch),
        ("rotary", "sequence", (2, 3, 2)),
        ("rotary_tiled", "feature", (2, 3, 2)),
        pytest.param("rotary_scaled", "feature", (2, 3), marks=on_torch),
    ],
)
def test_a_prediction_equals_the_numpy_forward_pass(kind, conditioning, grid_size):
    predictor = filled(
        WorldModelPredictor(
            *(grid_size, 10, 24, 2, 2, 20, 3, conditioning), positions=kind
        )
    )
    rng = np.random.default_rng(3)
    context_ids, target_ids = np.array([[0, 4], [5, 1]]), np.array([[1, 2], [0, 3]])
    latents = rng.normal(size=(2, 2, 10)).astype("float32")
    action = rng.uniform(-1, 1, (2, 3)).astype("float32")
    inputs = (latents, context_ids, target_ids, action)
    expected = numpy_vit.predict(predictor, *inputs)
    np.testing.assert_allclose(numpy_of(predictor(*inputs)), expected, atol=5e-5)


@on_torch
def test_fixed_positions_of_a_predictor_have_three_axes_too():
    arguments = ((2, 3, 2), 10, 24, 2, 2, 20, 3, "feature")
    predictor = filled(WorldModelPredictor(*arguments))
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(2, 3, 10)).astype("float32")
    context_ids = np.array([[0, 11, 7], [5, 8, 2]])
    target_ids = np.array([[1, 2, 9], [10, 3, 6]])
    action = rng.uniform(-1, 1, (2, 3)).astype("float32")
    inputs = (latents, context_ids, target_ids, action)
    expected = numpy_vit.predict(predictor, *inputs)
    np.testing.assert_allclose(numpy_of(predictor(*inputs)), expected, atol=5e-5)


def test_a_rotary_model_learns_and_is_saved(tmp_path):
    encoder = ViTEncoder(16, 4, 16, 1, 2, positions="rotary", remat=True)
    model = ImageWorldModel.from_encoder(encoder, actions=(), conditioning="none")
    assert model.predictor.positions == "rotary"
    before = [numpy_of(weight).copy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.01))
    images = RNG.integers(0, 256, (8, 16, 16, 3), "uint8")
    losses = model.fit(images, epochs=2, batch_size=8, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(numpy_of(weight) - old).max() > 0, weight.path
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.encoder.predict(images, verbose=0),
        model.encoder.predict(images, verbose=0),
        atol=1e-6,
    )


@on_torch
@KINDS
@pytest.mark.parametrize("is_video", [True, False])
def test_a_named_size_can_have_rotary_positions(kind, is_video):
    made, name = ViTEncoder, "iwm_tiny_32"
    if is_video:
        made, name = VideoEncoder, "vjepa_tiny_64"
    encoder = made.from_preset(name, False, positions=kind, num_layers=1, num_heads=2)
    assert encoder.positions == kind
    assert encoder.blocks[0].attention.key_bias is not None
    again = made.from_config(encoder.get_config())
    again.set_weights(encoder.get_weights())
    images = RNG.integers(0, 256, (1, *encoder.images_shape[1:]), "uint8")
    outputs = numpy_of(encoder(images))
    np.testing.assert_array_equal(outputs, numpy_of(again(images)))
    expected = numpy_vit.encode(encoder, images)["norm"]
    np.testing.assert_allclose(outputs, expected, atol=5e-5)


@on_torch
@KINDS
def test_what_is_changed_behind_a_block_goes_on(kind):
    encoder = small_encoder(kind, num_prefix_tokens=1)
    kept = encoder(CLIPS, return_intermediates=True)
    seen = []

    def change(name, tokens):
        seen.append((name, tuple(tokens.shape)))
        return tokens + 1.0 if name == "block_00" else tokens

    changed = encoder(CLIPS, return_intermediates=True, change=change)
    assert seen == [(name, (2, 13, 32)) for name in ("stem", "block_00", "block_01")]
    moved = numpy_of(changed["block_00"]) - numpy_of(kept["block_00"])
    np.testing.assert_allclose(moved, 1.0, atol=1e-5)
    # The last block turns what it gets as it always does.
    patch_ids = np.tile(np.arange(12), (2, 1))
    rotation = encoder.position_embedding.rotation(patch_ids, encoder.grid_size)
    tokens = []
    encoder(CLIPS, change=lambda name, t: tokens.append(t) or t)
    expected = encoder.norm(encoder.blocks[1](tokens[1] + 1.0, rotation=rotation))
    np.testing.assert_allclose(
        numpy_of(changed["norm"]), numpy_of(expected)[:, 1:], atol=1e-5
    )


def test_half_precision_is_near():
    encoder = small_encoder("rotary")
    half = VideoEncoder.from_config({**encoder.get_config(), "dtype": "mixed_bfloat16"})
    half.set_weights(encoder.get_weights())
    outputs = half(CLIPS)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    difference = numpy_of(ops.cast(outputs, "float32")) - numpy_of(encoder(CLIPS))
    assert np.abs(difference).mean() < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_encoder("rotary", num_heads=8), "`head_dim`"),
        (lambda: small_encoder("rotary", hidden_dim=36, num_heads=4), "`head_dim`"),
        (
            lambda: WorldModelPredictor((2, 2, 2), 8, 8, 1, 2, positions="rotary"),
            "`head_dim`",
        ),
        (
            lambda: CausalEncoder(small_encoder("rotary", is_video=False)),
            "`encoder` must have positions that are added",
        ),
        (
            lambda: save_transformers(small_encoder("rotary", is_video=False), "x"),
            "rotary",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
