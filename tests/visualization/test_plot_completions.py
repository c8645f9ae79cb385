import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.backbones import ViTEncoder  # noqa: E402
from keras_iwm.models import AutoregressiveModel  # noqa: E402
from keras_iwm.visualization import plot_completions  # noqa: E402


def make(**arguments):
    encoder = ViTEncoder((4, 6), 2, 8, 1, 1)
    return AutoregressiveModel.from_encoder(
        encoder, head="diffusion", normalize_targets=False, seed=0, **arguments
    )


def test_image_its_first_patches_and_what_follows_stand_side_by_side():
    model = make(order="snake")
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), "uint8")
    figure = plot_completions(model, images, num_first=4, num_completions=2, seed=3)
    axes = np.array(figure.axes).reshape(2, 4)
    titles = ["image", "first patches", "completion", "completion"]
    assert [axis.get_title() for axis in axes[0]] == titles
    # The first row of three patches, and the right end of the second.
    given = np.ones((2, 3), "bool")
    given[1, :2] = False
    given = given.repeat(2, 0).repeat(2, 1)[..., None]
    made = model.generate(images=images.repeat(2, axis=0), num_first=4, seed=3) / 255
    rows = zip(axes, images / 255, made.reshape(2, 2, 4, 6, 3), strict=True)
    for row, image, ends in rows:
        expected = (image, np.where(given, image, 0.85), *ends)
        for axis, picture in zip(row, expected, strict=True):
            np.testing.assert_allclose(axis.images[0].get_array(), picture, atol=1e-6)
    assert np.abs(made[0] - made[1]).max() > 0.01


def test_an_order_of_its_own_for_each_image_is_refused():
    images = np.zeros((1, 4, 6, 3), "uint8")
    with pytest.raises(ValueError, match="one order for all images"):
        plot_completions(make(order="random"), images)
