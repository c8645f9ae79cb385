"""Masks of clips: what they hide, their counts, and no bias to early frames."""

import keras
import numpy as np
import pytest

from keras_iwm.views import VideoBlockMask

# One size for all statistics: JAX compiles every shape anew.
BATCH_SIZE = 2000
SHORT, LONG = {}, {"num_blocks": 2, "scale": (0.7, 0.7)}


def run(mask, batch_size=BATCH_SIZE, seed=0):
    """Uniforms, and ids as booleans `(batch, depth, rows, columns)`."""
    uniforms = np.random.default_rng(seed).random((batch_size, mask.num_draws))
    uniforms = uniforms.astype("float32")
    chosen = []
    for ids in mask(uniforms):
        ids = keras.ops.convert_to_numpy(ids)
        assert ids.dtype == np.int32
        booleans = np.zeros((batch_size, mask.num_patches), bool)
        np.put_along_axis(booleans, ids, True, axis=1)
        # Each id once.
        assert (booleans.sum(axis=1) == ids.shape[1]).all()
        chosen.append(booleans.reshape(batch_size, *mask.grid_size))
    return uniforms, *chosen


def hidden_by_hand(mask, uniforms):
    """Patches of a frame that the first good draw of each clip hides, with loops."""
    depth, rows, columns = mask.grid_size
    hidden = np.zeros((len(uniforms), rows, columns), bool)
    for clip, draws in zip(hidden, uniforms, strict=True):
        candidates, lacks = [], []
        draws = draws[: 4 * mask.num_candidates * mask.num_blocks].astype("float64")
        for rectangles in draws.reshape(mask.num_candidates, mask.num_blocks, 4):
            candidate = np.zeros((rows, columns), bool)
            for area, ratio, top, left in rectangles:
                low, high = mask.scale
                area = (low + (high - low) * area) * rows * columns
                low, high = mask.aspect_ratio
                ratio = low * (high / low) ** ratio
                height = min(round(np.sqrt(area * ratio)), rows)
                width = min(round(np.sqrt(area / ratio)), columns)
                top = int(top * (rows - height + 1))
                left = int(left * (columns - width + 1))
                candidate[top : top + height, left : left + width] = True
            candidates.append(candidate)
            lack = max(mask.num_targets / depth - candidate.sum(), 0)
            lack += max(mask.num_context / depth - (~candidate).sum(), 0)
            lacks.append(lack)
        clip[:] = candidates[int(np.argmin(lacks))]
    return hidden


@pytest.mark.parametrize("kind", [SHORT, LONG], ids=["short", "long"])
def test_targets_are_in_the_blocks_and_the_context_is_beside_them(kind):
    mask = VideoBlockMask((4, 8, 8), **kind)
    uniforms, context, targets = run(mask, 200)
    assert not (context & targets).any()
    hidden = hidden_by_hand(mask, uniforms)
    # Where a draw holds enough, which is nearly always, no id is of the other side.
    enough = hidden.sum(axis=(1, 2)) * 4 >= mask.num_targets
    enough &= (~hidden).sum(axis=(1, 2)) * 4 >= mask.num_context
    assert enough.mean() > 0.98
    tubes = np.repeat(hidden[:, None], 4, axis=1)
    assert not (targets & ~tubes)[enough].any()
    assert not (context & tubes)[enough].any()


@pytest.mark.parametrize(
    ("kind", "covered", "num_context", "num_targets"),
    [(SHORT, 0.63, 54, 105), (LONG, 0.835, 17, 152)],
    ids=["short", "long"],
)
def test_coverage_and_counts_of_the_published_grid(
    kind, covered, num_context, num_targets
):
    mask = VideoBlockMask((8, 14, 14), **kind)
    assert mask.num_context == 8 * num_context
    assert mask.num_targets == 8 * num_targets
    draws = np.random.default_rng(0).random((BATCH_SIZE, mask.num_draws), "float32")
    blocks = mask.frame_mask.draw_blocks(keras.ops.convert_to_tensor(draws))
    union = keras.ops.convert_to_numpy(blocks).any(axis=2)
    # As simulated apart from this library, of the published rule. There the blocks of
    # a batch share their size; the two long ones cover 82 % then.
    assert union.mean() == pytest.approx(covered, abs=0.01)


@pytest.mark.parametrize("kind", [SHORT, LONG], ids=["short", "long"])
def test_all_frames_have_the_same_share(kind):
    mask = VideoBlockMask((4, 8, 8), **kind)
    _, context, targets = run(mask)
    for chosen, count in ((context, mask.num_context), (targets, mask.num_targets)):
        shares = chosen.sum(axis=(0, 2, 3)) / (BATCH_SIZE * count)
        # Five standard errors of a share of a quarter.
        error = 5 * np.sqrt(0.25 * 0.75 / (BATCH_SIZE * count))
        np.testing.assert_allclose(shares, 0.25, atol=error)
    # Every patch can be predicted, and seen, but by the long kind only near the edge.
    assert targets.any(axis=0).all()
    assert context.any(axis=0).all() == (kind is SHORT)


def test_counts_are_those_asked_for():
    mask = VideoBlockMask((2, 4, 6), num_context=7, num_targets=11)
    _, context, targets = run(mask, 50)
    assert (context.sum(axis=(1, 2, 3)) == 7).all()
    assert (targets.sum(axis=(1, 2, 3)) == 11).all()
    rebuilt = VideoBlockMask.from_config(mask.get_config())
    assert rebuilt.get_config() == mask.get_config()
    assert rebuilt.num_draws == mask.num_draws == 4 * 4 * 8 + 48


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"grid_size": (8, 8)}, "`grid_size`.*depth"),
        ({"grid_size": (2, 3, 8)}, "`grid_size` must be at least 4"),
        ({"num_context": 100, "num_targets": 100}, "must fit"),
        ({"scale": (0.0, 0.5)}, "`scale`"),
        ({"num_blocks": 0}, "`num_blocks`"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        VideoBlockMask(**{"grid_size": (2, 8, 8), **arguments})
