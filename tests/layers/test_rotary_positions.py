"""Queries and keys that are turned by where they stand, in every form of blocks."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.layers import SelfAttention, TransformerBlock, rotary_positions

RNG = np.random.default_rng(0)
GRID = (2, 3, 2)
TOKENS = RNG.normal(size=(2, 12, 40)).astype("float32")  # 20 features a head
KINDS = pytest.mark.parametrize("kind", ["rotary", "rotary_scaled", "rotary_tiled"])


def small_block(**arguments):
    """A block of known weights, no bias or norm of them at its start."""
    arguments = {"use_key_bias": True, **arguments}
    block = TransformerBlock(num_heads=2, mlp_dim=24, name="block", **arguments)
    block.build(TOKENS.shape)
    rng = np.random.default_rng(1)
    for weight in block.trainable_weights:
        value = rng.normal(0, 0.3, weight.shape) + ("gamma" in weight.path)
        weight.assign(value.astype("float32"))
    return block


@KINDS
@pytest.mark.parametrize("grid_size", [(5,), (3, 4), (2, 3, 4)])
def test_the_table_turns_as_complex_numbers_do(grid_size, kind):
    table = rotary_positions(grid_size, 22, kind).astype("float64")
    heads = RNG.normal(size=(1, len(table), 22))
    first, second = np.split(heads, 2, axis=-1)
    turned = heads * table[:, 0] + np.concatenate([second, first], -1) * table[:, 1]
    expected = numpy_vit.rotate(heads, numpy_vit.places_of(grid_size), kind, grid_size)
    np.testing.assert_allclose(turned, expected, atol=1e-6)
    kept = 2 * (11 // len(grid_size)) * len(grid_size)
    assert (np.abs(table[-1, 0] - 1) > 0).sum() <= kept


@KINDS
def test_only_rotations_depend_on_distance_alone(kind):
    table = rotary_positions((9,), 16, kind)
    query, key = RNG.normal(size=(2, 16))

    def product(*places):
        turned = []
        for heads, place in zip((query, key), places, strict=True):
            exchanged = np.concatenate([heads[8:], heads[:8]])
            turned.append(heads * table[place, 0] + exchanged * table[place, 1])
        return turned[0] @ turned[1]

    difference = max(abs(product(i, i + 3) - product(0, 3)) for i in range(6))
    assert difference > 0.1 if kind == "rotary_tiled" else difference < 1e-5


@KINDS
@pytest.mark.parametrize(
    "plain", [True, False] if keras.backend.backend() == "torch" else [False]
)
@pytest.mark.parametrize("gathered", [True, False])
def test_a_block_equals_the_numpy_forward_pass(monkeypatch, kind, plain, gathered):
    block = small_block()
    if not plain:
        monkeypatch.setattr(TransformerBlock, "_is_plain", lambda block: False)
    tokens, table = TOKENS, rotary_positions(GRID, 20, kind)
    patch_ids = None
    if gathered:
        patch_ids = np.array([[7, 0, 11, 3], [2, 9, 4, 10]])
        tokens = TOKENS[:, :4]
    rotation = table[None] if patch_ids is None else table[patch_ids]
    outputs = ops.convert_to_numpy(block(tokens, rotation=rotation))
    weights = {
        f"block/{path}": value for path, value in numpy_vit.weights_of(block).items()
    }
    places = numpy_vit.places_of(GRID, patch_ids)
    turn = {"places": places, "kind": kind, "grid_size": GRID}
    expected = numpy_vit.block(tokens, weights, "block", 2, **turn)
    np.testing.assert_allclose(outputs, expected, atol=2e-5)
    still = numpy_vit.block(tokens, weights, "block", 2)
    assert np.abs(still - expected).max() > 0.1


class Rotated(keras.Model):
    """A block whose rotation and mask are made in the step."""

    def __init__(self, remat):
        super().__init__()
        self.block = small_block(remat=remat)

    def call(self, tokens):
        """Attend to tokens before, which stand on a line."""
        rotation = ops.convert_to_tensor(rotary_positions((12,), 20))
        ids = ops.broadcast_to(ops.arange(12), (ops.shape(tokens)[0], 12))
        places = ops.arange(12)
        mask = places[:, None] >= places[None]
        return self.block(tokens, mask, ops.take(rotation, ids, axis=0))


def test_rotated_blocks_learn_the_same_with_remat():
    weights = []
    for remat in (False, True):
        model = Rotated(remat)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(TOKENS, 0 * TOKENS, epochs=2, verbose=0, shuffle=False)
        weights.append(model.block.get_weights())
    for kept, computed_again in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, computed_again, atol=1e-5)
    start = small_block()
    names = [weight.name for weight in start.weights]
    moved = np.abs(weights[0][names.index("key_bias")] - start.attention.key_bias)
    assert ops.convert_to_numpy(moved).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_first_place_turns_nothing(dtype):
    attention = SelfAttention(2, dtype=dtype)
    rotation = np.repeat(rotary_positions(GRID, 20)[:1], 12, axis=0)[None]
    outputs = [attention(TOKENS), attention(TOKENS, rotation=rotation)]
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs} == {
        attention.compute_dtype
    }
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(ops.cast(output, "float32")) for output in outputs)
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (((2, 3), 7), "head_dim"),
        (((2, 3, 2), 4), "head_dim"),
        (((0, 3), 8), "grid_size"),
        (((2, 3), 8, "learned"), "positions"),
    ],
)
def test_wrong_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        rotary_positions(*arguments)
