"""What was changed on the parts of a model comes back with it."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.layers import TokenDense, TransformerBlock
from keras_iwm.layers.composed_model import ComposedModel, change_parts, part_changes
from keras_iwm.optimizers import AdamW

TOKENS = np.random.default_rng(0).normal(size=(16, 4, 8)).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class Stack(ComposedModel):
    """Two blocks and a dense layer, all built by the constructor."""

    def __init__(self, trainable=True, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [TransformerBlock(2, 16, name=f"block_{i}") for i in range(2)]
        self.logits = TokenDense(3, name="logits")
        for layer in (*self.blocks, self.logits):
            layer.build((None, None, 8))
        self.built = True
        self.trainable = trainable

    def call(self, tokens, training=None):
        for block in self.blocks:
            tokens = block(tokens, training=training)
        return ops.mean(self.logits(tokens), axis=1)


@keras.saving.register_keras_serializable(package="tests")
class Around(ComposedModel):
    """A model around a `Stack`, which its config rebuilds."""

    def __init__(self, stack, **kwargs):
        super().__init__(**kwargs)
        self.stack = stack
        self.built = True

    def call(self, tokens, training=None):
        return self.stack(tokens, training=training)

    def get_config(self):
        config = {"stack": keras.saving.serialize_keras_object(self.stack)}
        return {**super().get_config(), **config}


def freeze_block(stack):
    stack.blocks[0].trainable = False


def unfreeze_last_block(stack):
    stack.trainable = False
    stack.blocks[1].trainable = True


def freeze_deep(stack):
    stack.blocks[0].attention.query_key_value.trainable = False
    stack.blocks[1].mlp_norm.gamma.trainable = False


def enable_lora(stack):
    for block in stack.blocks:
        block.attention.query_key_value.enable_lora(2, lora_alpha=3)
        block.mlp_hidden.enable_lora(1)


def freeze_and_enable_lora(stack):
    enable_lora(stack)
    freeze_block(stack)


def quantize(stack):
    stack.quantize("int8", type_check=False)


def quantize_and_enable_lora(stack):
    stack.blocks[1].mlp_hidden.quantize("int8", type_check=False)
    enable_lora(stack)


CHANGES = (
    freeze_block,
    unfreeze_last_block,
    freeze_deep,
    enable_lora,
    freeze_and_enable_lora,
    quantize,
    quantize_and_enable_lora,
)


def values(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


@pytest.mark.parametrize(
    ("change", "nested"),
    [*((change, True) for change in CHANGES), (freeze_block, False), (quantize, False)],
)
def test_changes_are_saved_and_loaded_with_the_optimizer(change, nested, tmp_path):
    stack = Stack(name="stack")
    model = Around(stack, name="around") if nested else stack
    change(stack)
    model.compile(AdamW(1e-2), "mse")
    model.fit(TOKENS, np.ones((16, 3)), batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = keras.models.load_model(tmp_path / "model.keras")

    def learning(model):
        return [variable.path for variable in model.trainable_variables]

    assert learning(loaded) == learning(model)
    for one, two in zip(model.weights, loaded.weights, strict=True):
        assert (one.path, one.dtype) == (two.path, two.dtype)
        np.testing.assert_array_equal(*values((one, two)))
    for one, two in zip(
        values(model.optimizer.variables),
        values(loaded.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    assert int(loaded.optimizer.iterations) == 4
    # Both go on alike, and learn.
    before = values(loaded.trainable_variables)
    for each in (model, loaded):
        each.fit(TOKENS, np.zeros((16, 3)), batch_size=16, verbose=0)
    after = values(loaded.trainable_variables)
    for one, two, old in zip(
        values(model.trainable_variables), after, before, strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-6)
        assert np.abs(two - old).max() > 0


def test_weights_with_low_rank_updates_load_into_a_plain_model(tmp_path):
    model = Stack(name="stack")
    enable_lora(model)
    model.compile(AdamW(1e-2), "mse")
    model.fit(TOKENS, np.ones((16, 3)), batch_size=8, verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    plain = Stack(name="stack")
    plain.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(
        plain.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0), atol=1e-6
    )
    # And from a plain model, whose updates are zero.
    plain.save_weights(tmp_path / "b.weights.h5")
    model.load_weights(tmp_path / "b.weights.h5")
    np.testing.assert_allclose(
        plain.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0), atol=1e-6
    )


def test_an_unchanged_model_has_nothing_to_tell():
    assert part_changes(Stack()) == {}
    assert "part_changes" not in Stack(trainable=False).get_config()
    with pytest.raises(ValueError, match="block_7"):
        change_parts(Stack(), {"block_7": {"trainable": False}})


def test_frozen_parts_of_one_name_are_told_apart():
    model = Stack()
    model.blocks[1].mlp_norm.name = "attention_norm"
    model.blocks[1].mlp_norm.trainable = False
    assert part_changes(model) == {"block_1/attention_norm'": {"trainable": False}}
