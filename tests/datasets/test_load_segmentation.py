import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import load_segmentation


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    return tmp_path / "images", tmp_path / "masks"


def save(folder, name, pixels):
    Image.fromarray(pixels).save(folder / name)


def halves(size, left, right):
    pixels = np.full(size, right, "uint8")
    pixels[:, : size[1] // 2] = left
    return pixels


def test_images_and_masks_are_fitted_alike(folders):
    for name, (left, right) in {"b": (3, 200), "a": (7, 11)}.items():
        mask = halves((20, 60), left, right)
        save(folders[1], f"{name}.png", mask)
        save(folders[0], f"{name}.png", np.stack([mask] * 3, axis=-1))
    save(folders[1], "of_no_image.png", mask)
    images, masks = load_segmentation(*folders, (8, 16))
    assert images.shape == (2, 8, 16, 3)
    assert (images.dtype, masks.dtype) == (np.uint8, np.uint8)
    # Nearest neighbours make no class that was not there.
    np.testing.assert_array_equal(masks[0], halves((8, 16), 7, 11))
    np.testing.assert_array_equal(masks[1], halves((8, 16), 3, 200))
    np.testing.assert_array_equal(images[:, :, [0, -1], 0], masks[:, :, [0, -1]])


def test_palettes_and_deep_masks_give_their_numbers(folders):
    image = np.zeros((8, 8, 3), "uint8")
    palette = Image.fromarray(halves((8, 8), 1, 2)).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    save(folders[0], "a.png", image)
    palette.save(folders[1] / "a.png")
    assert np.unique(load_segmentation(*folders, (4, 4))[1]).tolist() == [1, 2]
    save(folders[0], "b.png", image)
    save(folders[1], "b.png", np.full((8, 8), 1000, "uint16"))
    masks = load_segmentation(*folders, (4, 4))[1]
    assert masks.dtype == np.int32
    assert np.unique(masks).tolist() == [1, 2, 1000]


def test_what_does_not_fit_together_is_named(folders):
    with pytest.raises(ValueError, match="`mask_folder` must be an existing folder"):
        load_segmentation(folders[0], folders[1] / "missing", (4, 4))
    with pytest.raises(ValueError, match="`image_folder` must hold images"):
        load_segmentation(*folders, (4, 4))
    save(folders[0], "a.png", np.zeros((8, 10, 3), "uint8"))
    with pytest.raises(ValueError, match="1 of 1 are missing.*a.png"):
        load_segmentation(*folders, (4, 4))
    save(folders[1], "a.png", np.zeros((8, 8), "uint8"))
    with pytest.raises(ValueError, match=r"a.png.*\(8, 8\) for.*\(10, 8\)"):
        load_segmentation(*folders, (4, 4))
    save(folders[1], "a.png", np.zeros((8, 10, 3), "uint8"))
    with pytest.raises(ValueError, match="mode RGB. Turn its colours into numbers"):
        load_segmentation(*folders, (4, 4))
    (folders[1] / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="could not be read"):
        load_segmentation(*folders, (4, 4))
    save(folders[0], "a.jpg", np.zeros((8, 10, 3), "uint8"))
    with pytest.raises(ValueError, match="several images named a"):
        load_segmentation(*folders, (4, 4))
