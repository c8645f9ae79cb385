"""What is compiled for a step makes the same views as operation by operation."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.actions import ActionSpace
from keras_iwm.views import ViewGenerator

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 16, 3)).astype("float32")


class Compiled(keras.Model):
    """A function of images and parameters, as a model's prediction."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.built = True

    def call(self, inputs):
        return self.function(inputs["images"], inputs["parameters"])


@pytest.mark.parametrize("kind", ["shared", "destructive"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_operations_equal_single_ones(kind, jit_compile):
    if jit_compile and keras.backend.backend() != "tensorflow":
        pytest.skip("JAX compiles anyway, and Torch what makes whole views")
    views = ViewGenerator((20, 16), actions=ActionSpace.default((20, 16), 3))
    chain = getattr(views.action_space, kind)
    apply = getattr(views, f"apply_{kind}")
    draws = np.random.default_rng(1).random((6, chain.num_draws), dtype="float32")
    draws[:3] *= 0.2  # changed by every operation, whatever its probability
    parameters = ops.convert_to_numpy(chain.sample(draws))
    expected = ops.convert_to_numpy(apply(IMAGES, parameters))
    assert np.abs(expected - IMAGES).mean() > 10.0
    model = Compiled(apply)
    model.compile(jit_compile=jit_compile)
    inputs = {"images": IMAGES, "parameters": parameters}
    np.testing.assert_allclose(model.predict_on_batch(inputs), expected, atol=2e-2)
