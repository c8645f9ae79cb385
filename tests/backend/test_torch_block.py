"""The block's short way on Torch equals the long way, and stands back where it must."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.layers import TransformerBlock

if keras.backend.backend() != "torch":
    pytest.skip("only Torch has a short way", allow_module_level=True)
from keras_iwm.layers import transformer_block

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
    monkeypatch.setattr(transformer_block, "can_fuse", lambda block: False)
    for mine, expected in zip(short, gradients(block), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-5, rtol=1e-5)


def test_both_ways_drop_the_same_paths(monkeypatch):
    images = np.repeat(TOKENS, 20, axis=0)
    outputs = []
    for plain in (True, False):
        monkeypatch.setattr(transformer_block, "can_fuse", lambda block, plain=plain: plain)
        keras.utils.set_random_seed(3)
        block = small_block(drop_path_rate=0.5)
        outputs.append(ops.convert_to_numpy(block(images, training=True)))
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_low_rank_updates_are_respected():
    block = small_block()
    before = ops.convert_to_numpy(block(TOKENS))
    assert transformer_block.can_fuse(block)
    block.mlp_hidden.enable_lora(2)
    assert not transformer_block.can_fuse(block)
    block.mlp_hidden.lora_kernel_b.assign(np.ones((2, 24), "float32"))
    after = ops.convert_to_numpy(block(TOKENS))
    assert np.abs(after - before).max() > 1e-3
