import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import erf, softmax

from keras_iwm.layers import AttentivePooling


def normalize(values, layer):
    values = values - values.mean(axis=-1, keepdims=True)
    values = values / np.sqrt((values**2).mean(axis=-1, keepdims=True) + 1e-6)
    gamma, beta = (ops.convert_to_numpy(w) for w in (layer.gamma, layer.beta))
    return values * gamma + beta


def dense(values, layer):
    outputs = values @ ops.convert_to_numpy(layer.kernel)
    return outputs + ops.convert_to_numpy(layer.bias) if layer.use_bias else outputs


def test_pooling_equals_numpy():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2, 5, 12)).astype("float32")
    layer = AttentivePooling(3)
    layer.build(latents.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    pooled, attention = layer(latents, return_attention=True)

    query = ops.convert_to_numpy(layer.query)
    tokens = normalize(latents, layer.latents_norm)
    keys = dense(tokens, layer.key).reshape(2, 5, 3, 4)
    values = dense(tokens, layer.value).reshape(2, 5, 3, 4)
    similarity = np.einsum("bnhd,hd->bhn", keys, query.reshape(3, 4)) / 2
    expected_attention = softmax(similarity, axis=-1)
    mixed = np.einsum("bhn,bnhd->bhd", expected_attention, values).reshape(2, 12)
    tokens = query + dense(mixed, layer.attention_output)
    hidden = dense(normalize(tokens, layer.mlp_norm), layer.mlp_hidden)
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    expected = tokens + dense(hidden, layer.mlp_output)

    np.testing.assert_allclose(
        ops.convert_to_numpy(attention), expected_attention, atol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(pooled), expected, rtol=1e-4, atol=1e-4
    )


def test_heads_must_divide_the_features():
    with pytest.raises(ValueError, match="`num_heads` must divide"):
        AttentivePooling(5)(keras.random.normal((1, 4, 12)))
