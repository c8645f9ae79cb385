"""The block's short way on Torch equals the long way, and stands back where it must."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.layers import (
    SelfAttention,
    TokenDense,
    TokenNorm,
    TransformerBlock,
)

if keras.backend.backend() != "torch":
    pytest.skip("only Torch has a short way", allow_module_level=True)

TOKENS = np.random.default_rng(0).normal(size=(3, 5, 12)).astype("float32")


def small_block(**arguments):
    """A block whose biases and norms are not at their start."""
    block = TransformerBlock(num_heads=2, mlp_dim=24, **arguments)
    block.build(TOKENS.shape)
    rng = np.random.default_rng(1)
    block.set_weights(
        [weight + rng.normal(0, 0.2, weight.shape) for weight in block.get_weights()]
    )
    return block


def gradients(block):
    """Value and gradients of the sum of squares."""
    block.zero_grad()
    outputs = block(TOKENS)
    ops.sum(ops.square(outputs)).backward()
    return [ops.convert_to_numpy(outputs)] + [
        ops.convert_to_numpy(weight.value.grad) for weight in block.trainable_weights
    ]


@pytest.mark.parametrize("remat", [False, True])
def test_both_ways_agree(monkeypatch, remat):
    block = small_block(remat=remat)
    short = gradients(block)
    monkeypatch.setattr(TransformerBlock, "_is_plain", lambda block: False)
    for mine, expected in zip(short, gradients(block), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-5, rtol=1e-5)


def test_both_ways_drop_the_same_paths(monkeypatch):
    images = np.repeat(TOKENS, 20, axis=0)
    outputs = []
    for plain in (True, False):
        monkeypatch.setattr(
            TransformerBlock, "_is_plain", lambda block, plain=plain: plain
        )
        keras.utils.set_random_seed(3)
        block = small_block(drop_path_rate=0.5)
        outputs.append(ops.convert_to_numpy(block(images, training=True)))
    np.testing.assert_allclose(*outputs, atol=1e-5)


class OwnDense(TokenDense):
    """A layer that computes something else."""

    def call(self, tokens, training=None):
        return 2 * super().call(tokens, training=training)


class OwnNorm(TokenNorm):
    """A layer that computes something else."""

    def call(self, tokens):
        return 2 * super().call(tokens)


class OwnAttention(SelfAttention):
    """A layer that computes something else."""

    def call(self, tokens, attention_mask=None, rotation=None):
        return 2 * super().call(tokens, attention_mask, rotation)


def replace(block, name, layer):
    """Put another layer of the same weights into a block."""
    old = getattr(block, name)
    layer.build(TOKENS.shape)
    layer.set_weights(old.get_weights())
    block._tracker.unlock()
    setattr(block, name, layer)


def enable_lora(block):
    block.mlp_hidden.enable_lora(2)
    block.mlp_hidden.lora_kernel_b.assign(np.ones((2, 24), "float32"))


def regularize(block):
    block.mlp_hidden.activity_regularizer = keras.regularizers.L2(1.0)


CHANGES = {
    "low-rank": enable_lora,
    "int8": lambda block: block.attention.query_key_value.quantize("int8"),
    "float8": lambda block: block.mlp_output.quantize("float8"),
    "dtype": lambda block: setattr(block.mlp_output, "dtype_policy", "mixed_bfloat16"),
    "activation": lambda block: setattr(
        block.mlp_hidden, "activation", keras.activations.relu
    ),
    "activity": regularize,
    "dense": lambda block: replace(block, "mlp_hidden", OwnDense(24)),
    "norm": lambda block: replace(block, "mlp_norm", OwnNorm()),
    "attention": lambda block: replace(block, "attention", OwnAttention(2)),
}


@pytest.mark.parametrize("part", [{"layer_scale": 0.5}, {"gated_mlp": True}])
def test_the_short_way_stands_back_for_another_function(part):
    assert small_block(epsilon=1e-3)._is_plain()
    assert not small_block(**part)._is_plain()


def test_both_ways_have_the_blocks_epsilon(monkeypatch):
    block = small_block(epsilon=0.5)
    short = ops.convert_to_numpy(block(TOKENS))
    monkeypatch.setattr(TransformerBlock, "_is_plain", lambda block: False)
    np.testing.assert_allclose(short, ops.convert_to_numpy(block(TOKENS)), atol=2e-5)
    usual = small_block()
    assert np.abs(ops.convert_to_numpy(usual(TOKENS)) - short).max() > 0.1


@pytest.mark.parametrize("name", CHANGES)
def test_the_short_way_stands_back_for_layers_that_are_not_plain(monkeypatch, name):
    block = small_block()
    plain = ops.convert_to_numpy(block(TOKENS))
    assert block._is_plain()
    CHANGES[name](block)
    assert not block._is_plain()
    outputs = ops.convert_to_numpy(block(TOKENS))
    if name == "activity":
        assert len(block.losses) == 1
    elif name != "float8":
        assert np.abs(outputs - plain).max() > 0
    monkeypatch.setattr(TransformerBlock, "_is_plain", lambda block: False)
    np.testing.assert_array_equal(outputs, ops.convert_to_numpy(block(TOKENS)))


class OwnBlock(TransformerBlock):
    """A block of a user's own."""


def keras_calls(block, tokens, **arguments):
    """How often Keras's own call of a block is taken, and what it gives."""
    calls = []
    own = keras.layers.Layer.__call__

    def count(layer, *args, **kwargs):
        if layer is block:
            calls.append(layer)
        return own(layer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.layers.Layer, "__call__", count)
        outputs = block(tokens, **arguments)
    return len(calls), ops.convert_to_numpy(outputs)


def test_a_block_is_called_without_keras_after_the_first_time():
    block, tokens = small_block(), ops.convert_to_tensor(TOKENS)
    mask = ops.convert_to_tensor(np.tri(5, dtype="bool"))
    first = keras_calls(block, tokens, attention_mask=mask, training=True)
    later = keras_calls(block, tokens, attention_mask=mask, training=True)
    assert (first[0], later[0]) == (1, 0)
    np.testing.assert_array_equal(first[1], later[1])


@pytest.mark.parametrize(
    "case",
    ["NumPy", "half", "hook", "activity", "drop path", "subclass"],
)
def test_keras_calls_a_block_where_it_does_something(case):
    kind = OwnBlock if case == "subclass" else TransformerBlock
    block = kind(2, 24, drop_path_rate=0.5 if case == "drop path" else 0.0)
    tokens, seen = ops.convert_to_tensor(TOKENS), []
    block(tokens)
    if case == "NumPy":
        tokens = TOKENS
    elif case == "half":
        tokens = ops.cast(tokens, "float16")
    elif case == "hook":
        block.register_forward_hook(lambda *arguments: seen.append(arguments))
    elif case == "activity":
        block.activity_regularizer = keras.regularizers.L2(1.0)
    calls, outputs = keras_calls(block, tokens)
    assert calls == 1
    assert outputs.dtype == np.float32
    assert len(seen) == (case == "hook")
    if case == "activity":
        assert len(block.losses) == 1


def test_drop_path_knows_of_training_from_the_layer_around_it():
    class Around(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.block = small_block(drop_path_rate=0.5)

        def call(self, tokens, training=None):
            return self.block(tokens)

    around, tokens = Around(), ops.convert_to_tensor(np.repeat(TOKENS, 20, axis=0))
    around(tokens)
    still = ops.convert_to_numpy(around(tokens, training=False))
    moved = ops.convert_to_numpy(around(tokens, training=True))
    assert np.abs(moved - still).max() > 0.1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_is_the_same_without_keras(policy):
    block = TransformerBlock(2, 24, dtype=policy)
    tokens = ops.cast(TOKENS, block.compute_dtype)
    first, later = keras_calls(block, tokens), keras_calls(block, tokens)
    assert (first[0], later[0]) == (1, 0)
    np.testing.assert_array_equal(first[1], later[1])
