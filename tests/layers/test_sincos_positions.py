"""Positions against their closed form, for grids of one to four axes."""

import numpy as np
import pytest

from keras_iwm.layers import sincos_positions


def closed_form(grid_size, pairs, resampled_size=None):
    """One position and one feature at a time."""
    sizes = resampled_size or grid_size
    rows = []
    for place in np.ndindex(*sizes):
        features = []
        for axis, count in enumerate(pairs):
            centre = (place[axis] + 0.5) * grid_size[axis] / sizes[axis] - 0.5
            angles = [centre / 10000 ** (k / count) for k in range(count)]
            features += [np.sin(a) for a in angles] + [np.cos(a) for a in angles]
        rows.append(features)
    return np.array(rows)


@pytest.mark.parametrize(
    ("grid_size", "hidden_dim", "pairs"),
    [
        ((5,), 8, (4,)),
        ((3, 4), 16, (4, 4)),
        ((2, 3, 4), 12, (2, 2, 2)),
        ((2, 3, 4), 16, (3, 3, 2)),
        ((2, 1, 3, 2), 12, (2, 2, 1, 1)),
    ],
)
def test_positions_equal_the_closed_form(grid_size, hidden_dim, pairs):
    positions = sincos_positions(grid_size, hidden_dim)
    np.testing.assert_allclose(positions, closed_form(grid_size, pairs), atol=1e-6)
    finer = tuple(2 * size for size in grid_size)
    np.testing.assert_allclose(
        sincos_positions(grid_size, hidden_dim, finer),
        closed_form(grid_size, pairs, finer),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2, 2), 6), "hidden_dim=6"),
        (((2, 2, 2), 4), "at least 2 for each axis"),
        (((2, 2), 8, (4, 4, 4)), "resampled_size"),
    ],
)
def test_wrong_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sincos_positions(*arguments)


def test_uniform_power_gives_all_axes_as_many_pairs_and_cuts():
    positions = sincos_positions((2, 3, 4), 16, uniform_power=True)
    expected = closed_form((2, 3, 4), (3, 3, 3))[:, :16]
    np.testing.assert_allclose(positions, expected, atol=1e-6)
    np.testing.assert_array_equal(
        sincos_positions((2, 3, 4), 12, uniform_power=True),
        sincos_positions((2, 3, 4), 12),
    )
