"""Attention that a mask restricts, in every form that blocks have."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.layers import SelfAttention, TransformerBlock

RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(3, 5, 12)).astype("float32")
CAUSAL = np.tril(np.ones((5, 5), bool))
OF_EACH_SAMPLE = (RNG.uniform(size=(3, 5, 5)) < 0.5) | np.eye(5, dtype=bool)
MASKS = pytest.mark.parametrize(
    "mask", [CAUSAL, OF_EACH_SAMPLE], ids=["causal", "of_each_sample"]
)


def small_block(**arguments):
    """A block of known weights, no bias or norm of them at its start."""
    block = TransformerBlock(num_heads=2, mlp_dim=24, name="block", **arguments)
    block.build(TOKENS.shape)
    rng = np.random.default_rng(1)
    for weight in block.trainable_weights:
        value = rng.normal(0, 0.2, weight.shape) + ("gamma" in weight.path)
        weight.assign(value.astype("float32"))
    return block


@MASKS
@pytest.mark.parametrize("plain", [True, False])
def test_a_masked_block_equals_the_numpy_forward_pass(monkeypatch, mask, plain):
    block = small_block()
    if not plain:
        monkeypatch.setattr(TransformerBlock, "_is_plain", lambda block: False)
    outputs = ops.convert_to_numpy(block(TOKENS, ops.convert_to_tensor(mask)))
    weights = {
        f"block/{path}": value for path, value in numpy_vit.weights_of(block).items()
    }
    expected = numpy_vit.block(TOKENS, weights, "block", 2, mask)
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    unmasked = numpy_vit.block(TOKENS, weights, "block", 2)
    assert np.abs(unmasked - expected).max() > 0.1


class Masked(keras.Model):
    """A block under a mask that is drawn outside of it."""

    def __init__(self, remat):
        super().__init__()
        self.block = small_block(remat=remat, drop_path_rate=0.4)
        self.block.drop_path.seed_generator.state.assign([7, 0])

    def call(self, tokens, training=None):
        """Attend to tokens before, and in training with paths dropped."""
        places = ops.arange(tokens.shape[1])
        mask = places[:, None] >= places[None]
        mask = ops.broadcast_to(mask, (ops.shape(tokens)[0], *mask.shape))
        return self.block(tokens, mask, training=training)


def test_masked_blocks_learn_the_same_with_remat():
    weights = []
    for remat in (False, True):
        model = Masked(remat)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(TOKENS, 0 * TOKENS, epochs=2, verbose=0, shuffle=False)
        weights.append(model.block.get_weights())
    for kept, computed_again in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, computed_again, atol=1e-5)
    start = small_block().get_weights()
    assert np.abs(weights[0][2] - start[2]).max() > 1e-3


def test_tokens_one_by_one_are_the_tokens_under_a_causal_mask():
    for plain in ({}, {"layer_scale": 0.3, "gated_mlp": True}):
        block = small_block(**plain)
        expected = ops.convert_to_numpy(block(TOKENS, ops.convert_to_tensor(CAUSAL)))
        cache = (ops.zeros((3, 5, 2, 6)), ops.zeros((3, 5, 2, 6)))
        for index in range(5):
            token = ops.convert_to_tensor(TOKENS[:, index : index + 1])
            output, cache = block.extend(token, cache, ops.convert_to_tensor(index))
            np.testing.assert_allclose(
                ops.convert_to_numpy(output)[:, 0], expected[:, index], atol=1e-5
            )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_mask_of_all_tokens_is_none(dtype):
    attention = SelfAttention(2, dtype=dtype)
    everything = ops.ones((5, 5), dtype="bool")
    np.testing.assert_allclose(
        *(
            ops.convert_to_numpy(ops.cast(attention(TOKENS, mask), "float32"))
            for mask in (None, everything)
        ),
        atol=1e-6 if dtype == "float32" else 1e-2,
    )
