"""The base class that users extend."""

import keras
import numpy as np
import pytest

from keras_iwm.actions import ActionSpace, Transform


class HorizontalRamp(Transform):
    """Adds a ramp; here to be read, not to be useful."""

    parameters = ("ramp_start", "ramp_end")
    identity = (0.0, 0.0)
    scales = (0.5, 0.5)

    def draw(self, uniforms):
        return 0.5 * uniforms

    def apply(self, images, parameters):
        return images


def test_name_is_the_class_name_in_snake_case():
    assert HorizontalRamp().name == "horizontal_ramp"


def test_one_gate_and_one_draw_for_each_parameter():
    ramp = HorizontalRamp(probability=0.5)
    assert ramp.num_draws == 3
    uniforms = np.array([[0.49, 0.2, 0.4], [0.5, 0.2, 0.4]], "float32")
    parameters = keras.ops.convert_to_numpy(ramp.sample(uniforms))
    np.testing.assert_allclose(parameters, [[0.1, 0.2], [0.0, 0.0]], atol=1e-7)


@pytest.mark.parametrize(("probability", "touched"), [(0.0, 0), (1.0, 100)])
def test_gate_is_sure_at_its_ends(probability, touched):
    uniforms = np.random.default_rng(0).random((100, 3), "float32")
    uniforms[0, 0], uniforms[1, 0] = 0.0, 1.0 - 2**-24
    uniforms[:, 1:] += 0.01
    parameters = HorizontalRamp(probability=probability).sample(uniforms)
    parameters = keras.ops.convert_to_numpy(parameters)
    assert (parameters != 0.0).any(axis=1).sum() == touched


def test_what_a_subclass_must_declare_is_named():
    bare = Transform()
    with pytest.raises(ValueError, match="one identity and one scale"):
        ActionSpace([bare])
    with pytest.raises(NotImplementedError, match="draw"):
        bare.draw(None)
    with pytest.raises(NotImplementedError, match="apply"):
        bare.apply(None, None)


def test_probability_outside_its_range_is_refused():
    for probability in (-0.1, 1.1, float("nan"), None):
        with pytest.raises(ValueError, match="`probability`"):
            HorizontalRamp(probability=probability)
