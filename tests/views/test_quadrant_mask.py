"""Masks of quarters: which one is seen, and what is predicted of the others."""

import keras
import numpy as np
import pytest

from keras_iwm.views import QuadrantMask


def quarter_of(grid_size):
    """Which quarter each patch lies in, one loop per patch."""
    rows, columns = grid_size
    return np.array(
        [
            2 * (row >= rows // 2) + (column >= columns // 2)
            for row in range(rows)
            for column in range(columns)
        ]
    )


@pytest.mark.parametrize("grid_size", [(4, 4), (5, 7), (2, 3)])
def test_one_quarter_is_seen_and_the_others_are_predicted_apart(grid_size):
    mask = QuadrantMask(grid_size)
    count = (grid_size[0] // 2) * (grid_size[1] // 2)
    assert (mask.num_context, mask.num_targets, mask.num_passes) == (count, count, 3)
    uniforms = np.random.default_rng(0).random((2000, mask.num_draws), "float32")
    context_ids, target_ids = map(keras.ops.convert_to_numpy, mask(uniforms))
    assert context_ids.shape == (2000, count)
    assert target_ids.shape == (2000, 3, count)
    assert context_ids.dtype == target_ids.dtype == np.int32
    ids = np.concatenate([context_ids[:, None], target_ids], axis=1)
    quarters = quarter_of(grid_size)[ids]
    # Each part lies in one quarter, and the four are different.
    assert (quarters == quarters[..., :1]).all()
    assert (np.sort(quarters[..., 0], axis=1) == np.arange(4)).all()
    assert (np.diff(np.sort(ids.reshape(2000, -1), axis=1)) > 0).all()
    # The one that is seen is drawn, each as likely: five standard errors.
    seen = np.bincount(quarters[:, 0, 0], minlength=4) / 2000
    np.testing.assert_allclose(seen, 0.25, atol=0.049)
    # Of a larger quarter each patch is as likely.
    named = np.bincount(ids.reshape(-1), minlength=mask.num_patches) / 2000
    sizes = np.bincount(quarter_of(grid_size))
    expected = count / sizes[quarter_of(grid_size)]
    np.testing.assert_allclose(named, expected, atol=0.056)


def test_extreme_draws_stay_on_the_grid():
    mask = QuadrantMask(4)
    uniforms = np.zeros((2, mask.num_draws), "float32")
    uniforms[1] = 1.0 - 2**-24
    for context, targets in zip(
        *map(keras.ops.convert_to_numpy, mask(uniforms)), strict=True
    ):
        ids = np.concatenate([context, targets.ravel()])
        np.testing.assert_array_equal(np.sort(ids), np.arange(16))


def test_a_grid_without_quarters_is_refused():
    with pytest.raises(ValueError, match="`grid_size` must be at least 2"):
        QuadrantMask((1, 8))
