"""Pixels that a compiler keeps are the ones that were given."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_iwm.backend import computed_once
from keras_iwm.views import TwoViewGenerator, ViewGenerator


class Compiled(keras.Model):
    """The function, as a model's prediction."""

    def call(self, pixels):
        return computed_once(pixels)


# The first value decides which branch a conditional takes.
@pytest.mark.parametrize("first", [0.5, -2.0, -3e30, -np.inf, np.inf, np.nan])
def test_values_stay_whatever_the_first_one_is(first):
    pixels = np.array([[first, -1e35, 0.0, 7.25], [np.nan, -np.inf, 1.0, 3e38]])
    pixels = pixels.astype("float32")
    once = computed_once(ops.convert_to_tensor(pixels))
    np.testing.assert_array_equal(ops.convert_to_numpy(once), pixels)
    np.testing.assert_array_equal(Compiled().predict_on_batch(pixels), pixels)


@pytest.mark.parametrize("kind", [ViewGenerator, TwoViewGenerator])
def test_no_images_make_no_views(kind):
    views = kind(16, seed=0)(np.zeros((0, 16, 16, 3), "uint8"), training=False)
    assert {tuple(views[key].shape) for key in kind(16).keys[:2]} == {(0, 16, 16, 3)}
