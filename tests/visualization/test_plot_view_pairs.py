import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_view_pairs  # noqa: E402


def test_both_views_of_an_image_stand_in_its_row():
    rng = np.random.default_rng(0)
    views = {key: rng.uniform(-1, 1, (3, 8, 8, 3)) for key in ("first", "second")}
    figure = plot_view_pairs(views, value_range=(-1, 1), num_images=2)
    axes = np.array(figure.axes).reshape(2, 2)
    assert [axis.get_title() for axis in axes[0]] == ["first view", "second view"]
    for row in range(2):
        for axis, key in zip(axes[row], ("first", "second"), strict=True):
            np.testing.assert_allclose(
                axis.images[0].get_array(), (views[key][row] + 1) / 2, atol=1e-6
            )
    with pytest.raises(ValueError, match="`views`.*TwoViewGenerator"):
        plot_view_pairs({"first": views["first"]})
