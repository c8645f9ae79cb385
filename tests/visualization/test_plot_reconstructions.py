import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.backbones import ViTEncoder  # noqa: E402
from keras_iwm.models import MaskedAutoencoder  # noqa: E402
from keras_iwm.visualization import plot_reconstructions  # noqa: E402


def test_image_what_is_seen_and_what_is_made_of_it_stand_side_by_side():
    encoder = ViTEncoder((8, 12), 2, 8, 1, 1)
    model = MaskedAutoencoder.from_encoder(encoder, predictor_dim=8, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), "uint8")
    figure = plot_reconstructions(model, images, seed=2)
    results = model.reconstruct(images, seed=2)
    assert [axis.get_title() for axis in figure.axes[:3]] == [
        "image",
        "visible",
        "reconstruction",
    ]
    axes = np.array(figure.axes).reshape(3, 3)
    seen = results["visible"][..., None]
    expected = (
        images / 255,
        np.where(seen, images / 255, 0.85),
        results["reconstruction"] / 255,
    )
    for column, pictures in zip(axes.T, expected, strict=True):
        for axis, picture in zip(column, pictures, strict=True):
            np.testing.assert_allclose(axis.images[0].get_array(), picture, atol=1e-6)
    with pytest.raises(ValueError, match="`model` must be a MaskedAutoencoder"):
        plot_reconstructions(encoder, images)
