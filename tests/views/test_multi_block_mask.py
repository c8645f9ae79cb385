"""Masks: their geometry, their counts, and what they promise."""

import warnings

import keras
import numpy as np
import pytest

from keras_iwm.views.multi_block_mask import MultiBlockMask

# One size for all statistics: JAX compiles every shape anew.
BATCH_SIZE = 2000


def make_uniforms(mask, batch_size, seed=0):
    """What the view generator would draw."""
    return np.random.default_rng(seed).random((batch_size, mask.num_draws), "float32")


def run(mask, uniforms):
    """Ids as NumPy arrays."""
    return [keras.ops.convert_to_numpy(ids) for ids in mask(uniforms)]


def draw_blocks(mask, uniforms):
    """Rectangles as NumPy booleans."""
    blocks = mask.draw_blocks(keras.ops.convert_to_tensor(uniforms))
    return keras.ops.convert_to_numpy(blocks)


def as_booleans(ids, num_patches):
    """Which positions `(batch, count)` ids name."""
    named = np.zeros((len(ids), num_patches), bool)
    np.put_along_axis(named, ids, True, axis=1)
    return named


def kept_candidate(mask, visible, lacking):
    """The first candidate that lacks nothing, or else the one that lacks least."""
    lack = np.maximum(mask.num_context - visible.sum(-1), 0) + lacking
    return np.argmin(lack, axis=1)


@pytest.mark.parametrize("grid_size", [(14, 14), (8, 8), (6, 6), (7, 12)])
def test_blocks_are_the_rectangles_of_the_definition(grid_size):
    with_blocks = MultiBlockMask(grid_size, num_blocks=3, num_candidates=2)
    uniforms = make_uniforms(with_blocks, 20)
    blocks = draw_blocks(with_blocks, uniforms)
    assert blocks.shape == (20, 2, 3, *grid_size)
    rows, columns = grid_size
    draws = uniforms[:, :24].reshape(20, 2, 3, 4).astype("float64")
    for index in np.ndindex(20, 2, 3):
        area, ratio, top, left = draws[index]
        area = (0.15 + 0.05 * area) * rows * columns
        ratio = 0.75 * 2.0**ratio
        height = min(int(np.round(np.sqrt(area * ratio))), rows)
        width = min(int(np.round(np.sqrt(area / ratio))), columns)
        top = int(top * (rows - height + 1))
        left = int(left * (columns - width + 1))
        expected = np.zeros(grid_size, bool)
        expected[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(blocks[index], expected)


# Means and 5 to 95 percentiles of 8000 unions, as known for these grids.
@pytest.mark.parametrize(
    ("grid_size", "mean", "low", "high"),
    [(14, 0.518, 0.40, 0.64), (8, 0.504, 0.38, 0.63), (6, 0.503, 0.36, 0.64)],
)
def test_visible_fraction_is_as_known(grid_size, mean, low, high):
    mask = MultiBlockMask(grid_size)
    blocks = draw_blocks(mask, make_uniforms(mask, BATCH_SIZE))
    visible = 1.0 - blocks.any(axis=2).mean(axis=(-2, -1)).ravel()
    # The standard error of the mean is 0.0008.
    assert abs(visible.mean() - mean) < 0.003
    one_patch = 1.0 / mask.num_patches
    assert abs(np.percentile(visible, 5) - low) < one_patch + 0.005
    assert abs(np.percentile(visible, 95) - high) < one_patch + 0.005


def test_area_and_aspect_ratio_are_independent_and_cover_their_ranges():
    # A fine grid, so that rounding to whole patches hides little.
    mask = MultiBlockMask(40, num_context=1, num_targets=1)
    blocks = draw_blocks(mask, make_uniforms(mask, 200)).reshape(-1, 40, 40)
    heights = blocks.any(axis=2).sum(axis=1)
    widths = blocks.any(axis=1).sum(axis=1)
    areas, ratios = heights * widths / 1600, np.log(heights / widths)
    assert 0.14 < areas.min() < 0.155
    assert 0.195 < areas.max() < 0.22
    assert abs(areas.mean() - 0.175) < 0.002
    assert abs(ratios.mean() - np.log(0.75 * 1.5) / 2) < 0.02
    assert ratios.min() > np.log(0.7)
    assert ratios.max() < np.log(1.6)
    # 3200 pairs: three standard errors of a correlation are 0.053.
    assert abs(np.corrcoef(areas, ratios)[0, 1]) < 0.053


@pytest.mark.parametrize(
    ("grid_size", "num_context", "num_targets"),
    [(14, 83, 76), (8, 26, 25), (6, 14, 14)],
)
def test_default_counts_are_the_tenth_percentiles(grid_size, num_context, num_targets):
    mask = MultiBlockMask(grid_size)
    assert (mask.num_context, mask.num_targets) == (num_context, num_targets)


@pytest.mark.parametrize("grid_size", [(14, 14), (8, 8), (6, 6), (5, 9)])
def test_context_and_targets_never_meet_and_reach_every_position(grid_size):
    mask = MultiBlockMask(grid_size)
    context_ids, target_ids = run(mask, make_uniforms(mask, BATCH_SIZE))
    assert context_ids.shape == (BATCH_SIZE, mask.num_context)
    assert target_ids.shape == (BATCH_SIZE, mask.num_targets)
    assert context_ids.dtype == target_ids.dtype == np.int32
    context = as_booleans(context_ids, mask.num_patches)
    targets = as_booleans(target_ids, mask.num_patches)
    # No id comes twice.
    assert (context.sum(1) == mask.num_context).all()
    assert (targets.sum(1) == mask.num_targets).all()
    assert not (context & targets).any()
    assert context.any(0).all()
    assert targets.any(0).all()


@pytest.mark.parametrize("grid_size", [14, 8, 6])
def test_fewer_than_one_in_a_hundred_ids_change_sides(grid_size):
    mask = MultiBlockMask(grid_size)
    uniforms = make_uniforms(mask, BATCH_SIZE)
    hidden = draw_blocks(mask, uniforms).any(axis=2).reshape(BATCH_SIZE, 4, -1)
    lacking = np.maximum(mask.num_targets - hidden.sum(-1), 0)
    choice = kept_candidate(mask, ~hidden, lacking)
    hidden = hidden[np.arange(BATCH_SIZE), choice]
    context_ids, target_ids = run(mask, uniforms)
    # Only the candidate named above gives so few.
    assert np.take_along_axis(hidden, context_ids, axis=1).mean() < 0.01
    assert np.take_along_axis(~hidden, target_ids, axis=1).mean() < 0.01
    enough = (hidden.sum(1) >= mask.num_targets) & (
        (~hidden).sum(1) >= mask.num_context
    )
    assert enough.mean() > 0.95
    assert not np.take_along_axis(hidden, context_ids, axis=1)[enough].any()
    assert np.take_along_axis(hidden, target_ids, axis=1)[enough].all()


def test_ids_are_a_random_part_of_their_side():
    mask = MultiBlockMask(8, num_context=5, num_targets=5, num_candidates=1)
    uniforms = np.repeat(make_uniforms(mask, 1), 4000, axis=0)
    uniforms[:, -64:] = make_uniforms(mask, 4000, seed=1)[:, -64:]
    hidden = draw_blocks(mask, uniforms[:1]).any(axis=(1, 2)).ravel()
    for ids, side in zip(run(mask, uniforms), (~hidden, hidden), strict=True):
        share = as_booleans(ids, 64).mean(axis=0)
        assert not share[~side].any()
        # Each patch of the side is equally likely; five standard errors.
        expected = 5 / side.sum()
        np.testing.assert_allclose(share[side], expected, atol=5 * np.sqrt(0.2 / 4000))


@pytest.mark.parametrize("grid_size", [14, 8, 6])
def test_separate_blocks_keep_their_own_ids_and_never_meet_the_context(grid_size):
    mask = MultiBlockMask(grid_size, separate_blocks=True)
    uniforms = make_uniforms(mask, BATCH_SIZE)
    context_ids, target_ids = run(mask, uniforms)
    assert target_ids.shape == (BATCH_SIZE, 4, mask.num_targets)
    assert target_ids.dtype == np.int32
    context = as_booleans(context_ids, mask.num_patches)
    assert (context.sum(1) == mask.num_context).all()
    targets = as_booleans(target_ids.reshape(BATCH_SIZE, -1), mask.num_patches)
    assert not (context & targets).any()
    assert context.any(0).all()
    assert targets.any(0).all()

    rectangles = draw_blocks(mask, uniforms).reshape(BATCH_SIZE, 4, 5, -1)
    blocks, region = rectangles[:, :, :4], rectangles[:, :, 4]
    visible = region & ~blocks.any(axis=2)
    lacking = np.maximum(mask.num_targets - blocks.sum(-1), 0).sum(-1)
    choice = kept_candidate(mask, visible, lacking)
    pick = np.arange(BATCH_SIZE), choice
    outside = ~np.take_along_axis(blocks[pick], target_ids, axis=2)
    assert outside.mean() < 0.01
    assert (~np.take_along_axis(visible[pick], context_ids, axis=1)).mean() < 0.01
    # The context block holds 85 to 100 % of the grid, to a patch on each side.
    share = region.mean(axis=-1)
    side = grid_size
    assert share.min() >= (np.sqrt(0.85) - 0.5 / side) ** 2
    assert share.max() == 1.0


def test_context_block_has_the_shape_of_the_grid():
    mask = MultiBlockMask((8, 16), separate_blocks=True, context_scale=(0.5, 0.5))
    rectangles = draw_blocks(mask, make_uniforms(mask, 10))[:, :, -1]
    assert (rectangles.any(axis=3).sum(axis=2) == 6).all()  # sqrt(0.5) * 8 = 5.7
    assert (rectangles.any(axis=2).sum(axis=2) == 11).all()  # sqrt(0.5) * 16 = 11.3


@pytest.mark.parametrize("separate_blocks", [False, True])
def test_extreme_draws_stay_on_the_grid(separate_blocks):
    mask = MultiBlockMask(6, separate_blocks=separate_blocks)
    uniforms = np.zeros((2, mask.num_draws), "float32")
    uniforms[1] = 1.0 - 2**-24
    context_ids, target_ids = run(mask, uniforms)
    for context, targets in zip(context_ids, target_ids, strict=True):
        assert not set(context) & set(targets.ravel())
        assert min(context.min(), targets.min()) >= 0
        assert max(context.max(), targets.max()) < 36
    blocks = draw_blocks(mask, uniforms)
    assert (blocks.sum(axis=(-2, -1)) >= 1).all()


def test_smallest_grid_warns_and_still_keeps_its_promise():
    with pytest.warns(UserWarning, match="12.5 to 25 %"):
        mask = MultiBlockMask(4)
    uniforms = make_uniforms(mask, BATCH_SIZE)
    blocks = draw_blocks(mask, uniforms)
    assert set(np.unique(blocks.sum(axis=(-2, -1)))) <= {2, 3, 4}
    visible = 1.0 - blocks.any(axis=2).mean(axis=(-2, -1))
    assert abs(visible.mean() - 0.433) < 0.01
    assert visible.min() == 0.0
    for context, targets in zip(*run(mask, uniforms), strict=True):
        assert not set(context) & set(targets)


def test_half_precision_policy_does_not_round_the_draws():
    mask = MultiBlockMask(8)
    uniforms = make_uniforms(mask, 50)
    expected = run(mask, uniforms)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = run(MultiBlockMask(8), uniforms)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("separate_blocks", [False, True])
def test_configuration_comes_back(separate_blocks):
    mask = MultiBlockMask(
        grid_size=(6, 8),
        num_blocks=2,
        scale=(0.1, 0.3),
        aspect_ratio=(0.5, 2.0),
        num_context=9,
        num_targets=6,
        separate_blocks=separate_blocks,
        context_scale=(0.7, 0.9) if separate_blocks else None,
        num_candidates=3,
        name="blocks",
    )
    description = keras.saving.serialize_keras_object(mask)
    copy = keras.saving.deserialize_keras_object(description)
    assert copy.get_config() == mask.get_config()
    assert copy.name == "blocks"
    uniforms = make_uniforms(mask, 5)
    for ours, theirs in zip(run(mask, uniforms), run(copy, uniforms), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"grid_size": 3}, "`grid_size`.*smaller patches"),
        ({"grid_size": (8, 2)}, "`grid_size`"),
        ({"grid_size": "8"}, "`grid_size`"),
        ({"num_blocks": 0}, "`num_blocks`"),
        ({"num_candidates": 1.5}, "`num_candidates`"),
        ({"scale": (0.2, 0.1)}, "`scale`"),
        ({"aspect_ratio": (0.0, 1.0)}, "`aspect_ratio`"),
        ({"num_context": 0}, "`num_context`"),
        ({"num_targets": "many"}, "`num_targets`"),
        ({"num_context": 40, "num_targets": 40}, "must fit into the 64 patches"),
        ({"num_context": 64}, "must fit into the 64 patches"),
        ({"num_targets": 20, "separate_blocks": True}, "4 x `num_targets`"),
        ({"context_scale": (0.8, 1.0)}, "`separate_blocks=True`"),
        ({"separate_blocks": True, "context_scale": (0, 1)}, "`context_scale`"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        MultiBlockMask(**{"grid_size": 8, **arguments})


def test_wrong_number_of_uniforms_is_named():
    mask = MultiBlockMask(8)
    with pytest.raises(ValueError, match=r"`uniforms`.*\(batch, 128\)"):
        mask(np.zeros((2, 127), "float32"))


def test_no_warning_above_the_smallest_grid():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MultiBlockMask(5)
