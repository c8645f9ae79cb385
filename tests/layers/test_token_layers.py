"""Layers over tokens: any rank, any channels, quantised, with low-rank updates."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.layers import (
    ActionFeatures,
    ActionTokens,
    AttentivePooling,
    PatchEmbedding,
    SelfAttention,
    TokenDense,
    TokenNorm,
    TransformerBlock,
)

RNG = np.random.default_rng(0)
SHAPES = [(6, 8), (2, 3, 8), (2, 3, 4, 8)]


def filled(layer, shape, seed=1):
    """A layer whose biases and norms are not at their start."""
    layer.build(shape)
    rng = np.random.default_rng(seed)
    layer.set_weights([w + rng.normal(0, 0.2, w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("shape", SHAPES)
def test_token_norm_takes_any_rank(shape):
    tokens = RNG.normal(3, 2, shape).astype("float32")
    layer = filled(TokenNorm(), shape)
    gamma, beta = layer.get_weights()
    centred = tokens - tokens.mean(-1, keepdims=True)
    expected = centred / np.sqrt(tokens.var(-1, keepdims=True) + 1e-6) * gamma + beta
    outputs = ops.convert_to_numpy(layer(tokens))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_token_norm_keeps_the_variants_of_its_base():
    tokens = RNG.normal(3, 2, (2, 3, 8)).astype("float32")
    layer = TokenNorm.from_config({**TokenNorm().get_config(), "center": False})
    expected = keras.layers.LayerNormalization(epsilon=1e-6, center=False)(tokens)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(tokens)), ops.convert_to_numpy(expected), atol=1e-6
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_token_dense_takes_any_rank(shape):
    tokens = RNG.normal(size=shape).astype("float32")
    layer = filled(TokenDense(5), shape)
    kernel, bias = layer.get_weights()
    outputs = ops.convert_to_numpy(layer(tokens))
    np.testing.assert_allclose(outputs, tokens @ kernel + bias, atol=1e-5)


def test_token_dense_takes_axes_of_open_length():
    inputs = keras.Input((None, None, 8))
    layer = TokenDense(5)
    model = keras.Model(inputs, layer(inputs))
    tokens = RNG.normal(size=(2, 3, 4, 8)).astype("float32")
    expected = tokens @ ops.convert_to_numpy(layer.kernel)
    outputs = ops.convert_to_numpy(model(tokens))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("num_channels", [1, 3, 12])
def test_patches_of_any_channels(num_channels):
    images = RNG.normal(size=(2, 4, 6, num_channels)).astype("float32")
    layer = filled(PatchEmbedding(2, 5), images.shape)
    kernel, bias = layer.get_weights()
    patches = images.reshape(2, 2, 2, 3, 2, num_channels).transpose(0, 1, 3, 2, 4, 5)
    expected = patches.reshape(2, 6, -1) @ kernel + bias
    outputs = ops.convert_to_numpy(layer(images))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    ids = np.array([[4, 0], [1, 5]])
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(images, ids)),
        np.take_along_axis(expected, ids[..., None], 1),
        atol=1e-5,
    )


def dense_layers(block):
    return [layer for layer in block._flatten_layers() if isinstance(layer, TokenDense)]


@pytest.mark.parametrize("type_check", [True, False])
def test_a_quantised_block_computes_nearly_the_same(type_check):
    tokens = RNG.normal(size=(4, 6, 48)).astype("float32")
    block = filled(TransformerBlock(4, 96), tokens.shape)
    model = keras.Sequential([keras.Input((6, 48)), block])
    before = ops.convert_to_numpy(model(tokens))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.quantize("int8", type_check=type_check)
    assert not [w for w in caught if "TokenDense" in str(w.message)]
    assert [layer.quantization_mode for layer in dense_layers(block)] == ["int8"] * 4
    error = np.abs(before - ops.convert_to_numpy(model(tokens))).mean()
    assert 0 < error < 0.05 * np.abs(before).mean()


def test_subclasses_are_still_refused():
    class Own(TokenDense):
        """A layer that may compute something else."""

    layer = Own(4)
    layer.build((None, None, 8))
    with pytest.raises(NotImplementedError, match="quantize"):
        layer.quantize("int8")


@pytest.mark.parametrize(
    "name",
    [
        *("attention.query_key_value", "attention.output_projection"),
        *("mlp_hidden", "mlp_output"),
    ],
)
def test_low_rank_updates_equal_merged_weights(name):
    tokens = RNG.normal(size=(2, 5, 16)).astype("float32")
    block = filled(TransformerBlock(2, 32), tokens.shape)
    weights = block.get_weights()
    layer = block
    for part in name.split("."):
        layer = getattr(layer, part)
    layer.enable_lora(3, lora_alpha=6)
    update = RNG.normal(0, 0.3, (3, layer.units)).astype("float32")
    layer.lora_kernel_b.assign(update)
    outputs = ops.convert_to_numpy(block(tokens))

    merged = TransformerBlock(2, 32)
    merged.build(tokens.shape)
    merged.set_weights(weights)
    other = merged
    for part in name.split("."):
        other = getattr(other, part)
    factors = ops.convert_to_numpy(layer.lora_kernel_a) @ update
    kernel = ops.convert_to_numpy(other.kernel)
    before = ops.convert_to_numpy(merged(tokens))
    other.kernel.assign(kernel + 2 * factors)
    expected = ops.convert_to_numpy(merged(tokens))
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    assert np.abs(expected - before).max() > 1e-2


def test_the_image_data_format_changes_nothing():
    images = RNG.normal(size=(2, 8, 8, 3)).astype("float32")

    def outputs():
        keras.utils.set_random_seed(0)
        tokens = PatchEmbedding(4, 16)(images)
        tokens = TransformerBlock(2, 32, drop_path_rate=0.5)(tokens, training=True)
        tokens = ActionFeatures(16)(tokens, np.ones((2, 3), "float32"))
        return ops.convert_to_numpy(AttentivePooling(2)(tokens))

    expected = outputs()
    try:
        keras.config.set_image_data_format("channels_first")
        np.testing.assert_array_equal(outputs(), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: PatchEmbedding(0, 8), "patch_size"),
        (lambda: PatchEmbedding(4, 8.5), "hidden_dim"),
        (lambda: SelfAttention("2"), "num_heads"),
        (lambda: AttentivePooling(-1), "num_heads"),
        (lambda: ActionFeatures(None), "hidden_dim"),
        (lambda: ActionTokens(True), "hidden_dim"),
        (lambda: TransformerBlock(0, 8), "num_heads"),
        (lambda: TransformerBlock(2, -8), "mlp_dim"),
        (lambda: TransformerBlock(2, 8, block_index=0), "block_index"),
        (lambda: TransformerBlock(2, 8, drop_path_rate=1.0), "drop_path_rate"),
        (lambda: TransformerBlock(2, 8, drop_path_rate="0.1"), "drop_path_rate"),
        (lambda: TokenNorm(epsilon=-1.0), "epsilon"),
    ],
)
def test_wrong_arguments_are_named(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()
