import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.downstream import AttentiveHead, LinearHead

LATENTS = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")


def make_head(name, per_patch):
    if name == "linear":
        return LinearHead(3, per_patch=per_patch)
    return AttentiveHead(3, 2, per_patch=per_patch)


@pytest.mark.parametrize("per_patch", [False, True])
@pytest.mark.parametrize("name", ["linear", "attentive"])
def test_heads_in_functional_models_give_what_they_give_eagerly(name, per_patch):
    latents = LATENTS.reshape(2, 2, 3, 8) if per_patch else LATENTS
    head = make_head(name, per_patch)
    expected = ops.convert_to_numpy(head(latents))
    assert expected.shape == ((2, 2, 3, 3) if per_patch else (2, 3))
    inputs = keras.Input(latents.shape[1:])
    outputs = head(inputs)
    assert outputs.shape == (None, *expected.shape[1:])
    assert outputs.dtype == "float32"
    model = keras.Model(inputs, outputs)
    np.testing.assert_allclose(model.predict(latents, verbose=0), expected, atol=1e-6)
    with pytest.raises(ValueError, match=f"`latents` must.*per_patch={per_patch}"):
        head(LATENTS if per_patch else latents[:, None])


def test_a_linear_head_classifies_each_patch_as_an_image_of_one():
    image, patch = make_head("linear", False), make_head("linear", True)
    grid = ops.convert_to_numpy(patch(LATENTS.reshape(2, 2, 3, 8)))
    image.build((None, 1, 8))
    image.set_weights(patch.get_weights())
    alone = ops.convert_to_numpy(image(LATENTS.reshape(12, 1, 8)))
    np.testing.assert_allclose(grid.reshape(12, 3), alone, atol=1e-6)


def test_wrong_arguments_are_refused():
    for classes in (1, -2, "3", 2.5, float("nan"), None, True):
        with pytest.raises(ValueError, match="`num_classes` must be an integer of at"):
            LinearHead(classes)
        with pytest.raises(ValueError, match="`num_classes` must be an integer of at"):
            AttentiveHead(classes, 2)
    with pytest.raises(ValueError, match="`num_heads` must be an integer"):
        AttentiveHead(3, 0)
    with pytest.raises(ValueError, match="per_patch=True"):
        make_head("attentive", True).attention(LATENTS)
