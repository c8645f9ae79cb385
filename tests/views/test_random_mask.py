"""Random masks: counts, uniformity, and what they leave."""

import keras
import numpy as np
import pytest

from keras_iwm.views import RandomMask


def run(mask, uniforms):
    return [keras.ops.convert_to_numpy(ids) for ids in mask(uniforms)]


@pytest.mark.parametrize(
    ("grid_size", "ratio", "num_targets"),
    [(14, 0.75, 147), ((5, 6), 0.6, 18), (4, 0.75, 12), (2, 0.5, 2), (7, 0.75, 37)],
)
def test_ids_are_those_of_the_smallest_and_the_largest_numbers(
    grid_size, ratio, num_targets
):
    mask = RandomMask(grid_size, ratio)
    assert mask.num_draws == mask.num_patches
    assert (mask.num_targets, mask.num_passes) == (num_targets, 1)
    uniforms = np.random.default_rng(0).random((20, mask.num_draws), "float32")
    context_ids, target_ids = run(mask, uniforms)
    assert context_ids.dtype == target_ids.dtype == np.int32
    order = np.argsort(uniforms, axis=1)
    num_context = mask.num_patches - num_targets
    assert mask.num_context == num_context
    np.testing.assert_array_equal(context_ids, order[:, :num_context])
    np.testing.assert_array_equal(target_ids, order[:, num_context:])
    # Together they are all patches, once.
    both = np.sort(np.concatenate([context_ids, target_ids], axis=1), axis=1)
    np.testing.assert_array_equal(both, np.tile(np.arange(mask.num_patches), (20, 1)))


def test_every_patch_and_every_pair_is_equally_likely():
    mask = RandomMask(4)
    uniforms = np.random.default_rng(1).random((20_000, 16), "float32")
    _, target_ids = run(mask, uniforms)
    hidden = np.zeros((20_000, 16))
    np.put_along_axis(hidden, target_ids, 1, axis=1)
    # Five standard errors.
    np.testing.assert_allclose(hidden.mean(axis=0), 0.75, atol=0.0155)
    together = hidden.T @ hidden / 20_000
    expected = 12 / 16 * 11 / 15
    off_diagonal = together[~np.eye(16, dtype=bool)]
    np.testing.assert_allclose(off_diagonal, expected, atol=0.018)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ratio": 1.0}, "`ratio` must hide one"),
        ({"ratio": 0.01}, "`ratio` must hide one"),
        ({"ratio": 1.5}, "`ratio`"),
        ({"grid_size": 1}, "`ratio` must hide one"),
        ({"grid_size": (4, 0)}, "`grid_size`"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        RandomMask(**{"grid_size": 4, **arguments})


def test_wrong_number_of_uniforms_is_named():
    with pytest.raises(ValueError, match=r"`uniforms`.*\(batch, 16\)"):
        RandomMask(4)(np.zeros((2, 17), "float32"))
