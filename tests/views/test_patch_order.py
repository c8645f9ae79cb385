"""Orders of patches, against their definitions written another way."""

import numpy as np
import pytest

from keras_iwm.views import mean_jump_length, patch_order
from keras_iwm.views.patch_order import ORDERS

GRIDS = pytest.mark.parametrize("grid_size", [(1, 1), (2, 3), (4, 4), (5, 5), (14, 14)])


def places(order, columns):
    return np.stack(np.divmod(order, columns), axis=-1)


@GRIDS
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_has_each_patch_once(order, grid_size):
    found = patch_order(grid_size, order, seed=0 if order == "random" else None)
    assert found.dtype == "int32"
    assert sorted(found) == list(range(np.prod(grid_size)))


def test_small_orders_are_as_drawn_by_hand():
    drawn = {
        "raster": [[0, 1, 2], [3, 4, 5], [6, 7, 8]],
        "snake": [[0, 1, 2], [5, 4, 3], [6, 7, 8]],
        "spiral": [[6, 7, 8], [5, 0, 1], [4, 3, 2]],
        "morton": [[0, 1, 4], [2, 3, 5], [6, 7, 8]],
    }
    for order, ranks in drawn.items():
        assert list(patch_order((3, 3), order)) == list(np.argsort(np.ravel(ranks)))


@pytest.mark.parametrize("side", [3, 4, 7, 14])
def test_snake_and_spiral_of_a_square_touch_at_every_step(side):
    for order in ("snake", "spiral"):
        steps = np.diff(places(patch_order((side, side), order), side), axis=0)
        assert (np.abs(steps).sum(-1) == 1).all()
        assert mean_jump_length(order, (side, side)) == 1.0


def test_a_spiral_never_comes_nearer_to_the_centre_again():
    around = places(patch_order((7, 7), "spiral"), 7) - 3
    assert (np.diff(np.abs(around).max(-1)) >= 0).all()


def quarters(row, column, size):
    """Patches of a square in Morton order, by recursion."""
    if size == 1:
        return [(row, column)]
    half = size // 2
    return [
        place
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1))
        for place in quarters(row + down * half, column + right * half, half)
    ]


@pytest.mark.parametrize("grid_size", [(8, 8), (14, 14), (5, 9)])
def test_morton_is_that_of_the_next_power_of_two_without_absent_patches(grid_size):
    rows, columns = grid_size
    kept = [(r, c) for r, c in quarters(0, 0, 16) if r < rows and c < columns]
    found = places(patch_order(grid_size, "morton"), columns)
    np.testing.assert_array_equal(found, kept)


def test_random_orders_follow_from_the_seed():
    first, again = (patch_order((4, 4), "random", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != patch_order((4, 4), "random", seed=4)).any()


def test_jumps_of_a_raster_have_their_length_by_hand():
    # Three jumps of 1 in each of 4 rows, and 3 jumps back to the row below.
    expected = (12 + 3 * np.sqrt(1 + 9)) / 15
    assert mean_jump_length("raster", (4, 4)) == pytest.approx(expected)
    assert mean_jump_length(np.arange(16), (4, 4)) == pytest.approx(expected)
    assert mean_jump_length("raster", (1, 1)) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "zigzag"}, "`order` must be one of"),
        ({"order": [0, 1, 2, 2]}, "each of the 4 patches once"),
        ({"order": [0, 1, 2]}, "each of the 4 patches once"),
        ({"order": "raster", "seed": 1}, "`seed` is for the order 'random'"),
        ({"grid_size": (2, 2, 2)}, "`grid_size` must be a pair"),
    ],
)
def test_what_is_no_order_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        patch_order(**{"grid_size": (2, 2), **arguments})
