import numpy as np
import pytest

pytest.importorskip("matplotlib")

from keras_iwm.visualization import plot_patch_pca  # noqa: E402


def drawn_colors(figure, num_images):
    axes = np.array(figure.axes).reshape(2, num_images)
    return np.stack([axis.images[0].get_array() for axis in axes[1]])


def test_colors_are_the_first_three_components_of_all_patches():
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 8, 8, 3))
    latents = rng.normal(size=(3, 16, 10)) * np.geomspace(4, 0.1, 10) + 2.0
    figure = plot_patch_pca(images, latents, (4, 4))
    np.testing.assert_allclose(
        figure.axes[0].images[0].get_array(), images[0] / 255, atol=1e-6
    )
    colors = drawn_colors(figure, 3).reshape(48, 3)
    expected = decomposition.PCA(3).fit_transform(latents.reshape(48, 10))
    for color, component in zip(colors.T, expected.T, strict=True):
        # Between the 1st and 99th percentile a colour is linear in its component.
        inner = (color > 0) & (color < 1)
        assert inner.sum() >= 44
        assert color.min() == 0
        assert color.max() == 1
        assert abs(np.corrcoef(color[inner], component[inner])[0, 1]) > 1 - 1e-9


def test_equal_latents_have_equal_colors_in_every_image():
    latents = np.random.default_rng(0).normal(size=(2, 4, 5))
    latents[1, 3] = latents[0, 0]
    colors = drawn_colors(plot_patch_pca(np.zeros((2, 4, 4, 3)), latents, (2, 2)), 2)
    np.testing.assert_allclose(colors[1, 1, 1], colors[0, 0, 0], atol=1e-9)


def test_each_encoder_has_a_row_and_components_of_its_own():
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 8, 8, 3))
    latents = {
        "ViT-tiny": rng.normal(size=(3, 16, 10)),
        "untrained_copy_of_the_encoder": 100 * rng.normal(size=(3, 16, 5)),
    }
    figure = plot_patch_pca(images, latents, (4, 4))
    axes = np.array(figure.axes).reshape(3, 3)
    labels = [axis.get_ylabel() for axis in axes[:, 0]]
    assert labels == ["image", "ViT-tiny", "untrained copy of\nthe encoder"]
    for row, name in zip(axes[1:], latents, strict=True):
        alone = drawn_colors(plot_patch_pca(images, latents[name], (4, 4)), 3)
        together = np.stack([axis.images[0].get_array() for axis in row])
        np.testing.assert_array_equal(together, alone)


def test_bad_shapes_are_refused():
    images = np.zeros((2, 8, 8, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 16, hidden_dim\)"):
        plot_patch_pca(images, np.zeros((2, 9, 5)), (4, 4))
    with pytest.raises(ValueError, match="at least 3"):
        plot_patch_pca(images, np.zeros((2, 16, 2)), (4, 4))
    with pytest.raises(ValueError, match=r"`latents\['b'\]` must have shape"):
        plot_patch_pca(images, {"b": np.zeros((1, 16, 5))}, (4, 4))
    with pytest.raises(ValueError, match="at least one encoder"):
        plot_patch_pca(images, {}, (4, 4))
    # A collapsed encoder has nothing to show, but fails nothing either.
    colors = drawn_colors(plot_patch_pca(images, np.ones((2, 16, 5)), (4, 4)), 2)
    assert np.isfinite(colors).all()
