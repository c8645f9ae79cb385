import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.views import patch_order  # noqa: E402
from keras_iwm.visualization import plot_patch_orders  # noqa: E402


def test_paths_go_from_patch_to_patch():
    own = np.arange(6)[::-1]
    figure = plot_patch_orders((2, 3), {"spiral": "spiral", "backwards": own})
    for axis, order in zip(
        figure.axes, (patch_order((2, 3), "spiral"), own), strict=True
    ):
        row, column = np.divmod(order, 3)
        segments = np.stack(axis.collections[0].get_segments())
        np.testing.assert_array_equal(segments[:, 0], np.stack([column, row], -1)[:-1])
        np.testing.assert_array_equal(segments[:, 1], np.stack([column, row], -1)[1:])
        dot = axis.lines[0].get_xydata()[0]
        np.testing.assert_array_equal(dot, (column[0], row[0]))
    assert [axis.get_title() for axis in figure.axes] == ["spiral", "backwards"]
    # Two jumps of 1, one of the root of 5 from row to row, two of 1.
    assert figure.axes[1].get_xlabel() == f"mean jump {(4 + 5**0.5) / 5:.2f}"


def test_all_orders_are_drawn_by_default():
    titles = [axis.get_title() for axis in plot_patch_orders((4, 4)).axes]
    assert titles == ["raster", "snake", "spiral", "morton", "random"]


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="`orders` is refused: `order` must be one of"):
        plot_patch_orders((4, 4), ["zigzag"])
