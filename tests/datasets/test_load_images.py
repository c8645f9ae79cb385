import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import load_images


@pytest.mark.parametrize(
    ("image_key", "label_key"),
    [("images", "labels"), ("x", "y"), ("x_train", "y_train")],
)
def test_images_and_labels_come_back_exactly(tmp_path, image_key, label_key):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3)).astype("uint8")
    arrays = {image_key: images, label_key: np.arange(4)[:, None]}
    np.savez(tmp_path / "a.npz", **arrays)
    read, labels = load_images(tmp_path / "a.npz")
    np.testing.assert_array_equal(read, images)
    assert labels.tolist() == [0, 1, 2, 3]


def test_labels_are_optional_and_floats_are_kept(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.full((2, 4, 4, 3), 0.25, "float32"))
    images, labels = load_images(tmp_path / "a.npz", image_size=(4, 4))
    assert labels is None
    assert images.dtype == np.float32
    assert images.mean() == 0.25
    images, _ = load_images(tmp_path / "a.npz", image_size=2)
    np.testing.assert_array_equal(images, np.full((2, 2, 2, 3), 0.25, "float32"))


def test_other_sizes_are_covered_and_cropped(tmp_path):
    images = np.zeros((1, 8, 24, 3), "uint8")
    images[:, :, 8:16] = 200
    np.savez(tmp_path / "a.npz", images=images)
    resized, _ = load_images(tmp_path / "a.npz", image_size=(4, 4))
    assert resized.shape == (1, 4, 4, 3)
    assert (resized[:, :, 1:3] == 200).all()


def test_folders_and_files_are_drawn_alike(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype("uint8")
    labels = np.arange(6) % 2
    order = np.argsort(labels, kind="stable")  # as the folders will have them
    images, labels = images[order], labels[order]
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "folder" / f"class_{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    for limit, seed in ((None, None), (3, None), (3, 5), (None, 5)):
        read = [
            load_images(path, (4, 4), limit, seed)
            for path in (tmp_path / "folder", tmp_path / "a.npz")
        ]
        expected = np.arange(6)
        if seed is not None:
            expected = np.random.default_rng(seed).permutation(6)
        expected = expected[:limit]
        for read_images, read_labels in read:
            np.testing.assert_array_equal(read_images, images[expected])
            np.testing.assert_array_equal(read_labels, labels[expected])
    with pytest.raises(ValueError, match="needs an `image_size`"):
        load_images(tmp_path / "folder")


def test_unusable_files_are_explained(tmp_path):
    with pytest.raises(ValueError, match="existing folder or an existing .npz"):
        load_images(tmp_path / "missing.npz")
    np.savez(tmp_path / "a.npz", pictures=np.zeros(3), more=np.zeros(2))
    with pytest.raises(ValueError, match="It has: pictures, more"):
        load_images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 3, 8, 8), "uint8"))
    with pytest.raises(ValueError, match="`x` must have shape"):
        load_images(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.zeros((2, 8, 8, 3), "uint8"), y=np.zeros(3))
    with pytest.raises(ValueError, match="`y` in .* for each of the 2 images"):
        load_images(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="no plain arrays"):
        load_images(tmp_path / "d.npz")
