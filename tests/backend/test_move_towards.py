"""The teacher's update, with Torch's private hooks and without."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backend import move_towards

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=shape).astype("float32") for shape in ((3, 4), (5,))]
TARGETS = [RNG.normal(size=weight.shape).astype("float32") for weight in WEIGHTS]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_variables_move_a_share_of_the_way(dtype):
    variables = [keras.Variable(weight) for weight in WEIGHTS]
    targets = [ops.cast(target, dtype) for target in TARGETS]
    move_towards(variables, targets, ops.convert_to_tensor(0.1, "float32"))
    for variable, weight, target in zip(variables, WEIGHTS, targets, strict=True):
        exact = ops.convert_to_numpy(ops.cast(target, "float32"))
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable), weight + 0.1 * (exact - weight), atol=1e-6
        )


def test_a_share_of_zero_moves_nothing():
    variables = [keras.Variable(weight) for weight in WEIGHTS]
    targets = [ops.convert_to_tensor(target) for target in TARGETS]
    move_towards(variables, targets, ops.convert_to_tensor(0.0, "float32"))
    for variable, weight in zip(variables, WEIGHTS, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), weight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_ways_of_torch_agree(dtype):
    if keras.backend.backend() != "torch":
        pytest.skip("only Torch has two ways")
    from keras_iwm.backend.torch_update import move_each, move_together

    results = []
    for move in (move_each, move_together):
        variables = [keras.Variable(weight) for weight in WEIGHTS]
        targets = [ops.cast(target, dtype) for target in TARGETS]
        rate = ops.convert_to_tensor(0.1, "float32")
        values = [variable.value.data for variable in variables]
        move(values, targets, rate)
        results.append([value.numpy() for value in values])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
