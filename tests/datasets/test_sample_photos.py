import importlib.util

import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import load_sample_photos, random_photo_crops


def test_the_photos_are_ten_colour_pictures():
    photos = load_sample_photos()
    assert list(photos) == [
        "astronaut", "chelsea", "china", "coffee", "flower",
        "hubble_deep_field", "ihc", "motorcycle", "retina", "rocket",
    ]  # fmt: skip
    for name, photo in photos.items():
        assert photo.dtype == np.uint8
        assert photo.shape[-1] == 3
        assert min(photo.shape[:2]) >= 300
        # Colour: the channels differ.
        assert np.abs(photo[..., 0].astype(int) - photo[..., 2]).mean() > 1, name


def test_the_photos_equal_what_the_packages_load():
    skimage_data = pytest.importorskip("skimage.data")
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    photos = load_sample_photos()
    np.testing.assert_array_equal(photos["coffee"], skimage_data.coffee())
    china = sklearn_datasets.load_sample_image("china.jpg")
    np.testing.assert_array_equal(photos["china"], china)


def test_a_missing_package_is_explained(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "sklearn" else find_spec(name),
    )
    with pytest.raises(ImportError, match="pip install scikit-image"):
        load_sample_photos()


def gradient_photo(height=60, width=100):
    """A photo whose first two channels are the row and the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype("uint8")


def test_crops_are_a_function_of_the_seed_with_balanced_labels():
    photos = {"a": gradient_photo(), "b": 255 - gradient_photo(), "c": gradient_photo()}
    options = {"num_crops": 31, "crop_size": 16, "min_deviation": 0.0}
    crops, labels = random_photo_crops(photos, **options, seed=3)
    assert crops.shape == (31, 16, 16, 3)
    assert crops.dtype == np.uint8
    assert labels.dtype == np.int32
    assert set(np.bincount(labels)) == {10, 11}
    again, _ = random_photo_crops(photos, **options, seed=3)
    np.testing.assert_array_equal(crops, again)
    other, _ = random_photo_crops(photos, **options, seed=4)
    assert (crops != other).any()
    # The third channel tells the photos apart.
    np.testing.assert_array_equal(crops[:, 0, 0, 2] == 255, labels == 1)


def test_crop_sides_are_log_uniform_and_positions_cover_the_photo():
    crops, _ = random_photo_crops([gradient_photo()], 600, 15, min_deviation=0.0)
    # In a ramp of slope 1, pixels of the shrunk crop differ by side / 15.
    columns = crops[:, 7, :, 1].astype(float)
    sides = (columns[:, 10] - columns[:, 4]) / 6 * 15
    assert sides.min() > 14
    assert sides.max() < 62
    # The median of a log-uniform between 15 and 60 is 30.
    assert 26 < np.median(sides) < 34
    assert columns.min() < 4
    assert columns.max() > 95


def test_left_and_right_halves_never_meet():
    photo = gradient_photo()
    left, _ = random_photo_crops([photo], 100, 16, half="left", min_deviation=0.0)
    right, _ = random_photo_crops([photo], 100, 16, half="right", min_deviation=0.0)
    assert left[..., 1].max() <= 49
    assert right[..., 1].min() >= 50


def test_even_crops_are_drawn_again():
    photo = np.full((100, 400, 3), (200, 20, 90), "uint8")
    photo[:, 350:] = np.random.default_rng(0).integers(0, 256, (100, 50, 3))
    crops, _ = random_photo_crops([photo], 20, 16, min_deviation=8.0)
    assert crops.std(axis=(1, 2)).max(axis=-1).min() >= 8
    with pytest.raises(ValueError, match="`min_deviation=8.0` is too high"):
        random_photo_crops([photo], 1, 16, half="left")


def test_a_whole_photo_crop_is_a_pillow_resize():
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype("uint8")
    crops, _ = random_photo_crops([photo], 50, 19, min_deviation=0.0)
    whole = Image.fromarray(photo).resize((19, 19), Image.Resampling.BILINEAR)
    assert any(np.array_equal(crop, np.asarray(whole)) for crop in crops)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_crops": 0}, "`num_crops`"),
        ({"half": "top"}, "`half`"),
        ({"photos": []}, "at least one photo"),
        ({"photos": [np.zeros((30, 30), "uint8")]}, r"`photos\[0\]` must be uint8"),
        ({"crop_size": 61}, "at most the shorter side"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    defaults = {"photos": [gradient_photo()], "num_crops": 2, "crop_size": 8}
    with pytest.raises(ValueError, match=message):
        random_photo_crops(**{**defaults, **arguments})
