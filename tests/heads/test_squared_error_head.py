"""The head of squared error, against NumPy."""

import numpy as np
import pytest
from keras import ops
from reference import numpy_vit

from keras_iwm.heads import SquaredErrorHead

RNG = np.random.default_rng(0)
CONDITIONS = RNG.normal(size=(2, 3, 6)).astype("float32")
TARGETS = RNG.normal(size=(2, 3, 5)).astype("float32")


def predict(head, conditions):
    """The definition, in float64."""
    w = numpy_vit.weights_of(head)

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(x, name):
        return numpy_vit.layer_norm(x, w[f"{name}/gamma"], w[f"{name}/beta"])

    x = dense(conditions.astype("float64"), "input_projection")
    for index in range(head.num_layers):
        inner = numpy_vit.gelu(dense(norm(x, f"norm_{index}"), f"inner_{index}"))
        x = x + dense(inner, f"outer_{index}")
    return dense(norm(x, "norm"), "output_projection")


def test_prediction_and_sample_equal_the_numpy_forward_pass():
    head = SquaredErrorHead(6, 5, hidden_dim=8)
    for weight in head.weights:
        weight.assign(weight + RNG.normal(0, 0.1, weight.shape).astype("float32"))
    outputs = head(CONDITIONS, TARGETS, training=True)
    expected = predict(head, CONDITIONS)
    for found in (outputs["prediction"], head.sample(CONDITIONS, 0.5, seed=1)):
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs["target"]), TARGETS)


def test_predictions_are_float32_in_half_precision():
    head = SquaredErrorHead(6, 5, hidden_dim=8, dtype="mixed_bfloat16")
    outputs = head(CONDITIONS, TARGETS)
    assert outputs["prediction"].dtype == outputs["target"].dtype
    assert "float32" in str(outputs["prediction"].dtype)
    expected = predict(head, CONDITIONS)
    found = ops.convert_to_numpy(outputs["prediction"])
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_other_sizes_than_announced_are_refused():
    head = SquaredErrorHead(6, 5)
    with pytest.raises(ValueError, match="`targets` must have 5 numbers"):
        head(CONDITIONS, CONDITIONS)
    with pytest.raises(ValueError, match="`conditions` must have 6 numbers"):
        head.sample(TARGETS)
