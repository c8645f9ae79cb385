"""The colour photos that scikit-image and scikit-learn ship, and crops of them."""

import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from keras_iwm.arguments import as_count, as_number, shown
from keras_iwm.datasets.read_image import load_image, require_pillow

# Of the pictures in the two wheels these are the photos in colour. Left out are the
# grey ones, drawings, charts and text, and the second frame of the motorcycle.
_PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
_MAX_DRAWS = 1000


def load_sample_photos() -> dict[str, np.ndarray]:
    """Reads the ten colour photos in the installed scikit-image and scikit-learn.

    They let a first run work without a download. Nothing is imported from the two
    packages; the files are read from where they are installed.

    Returns:
        Dictionary, in alphabetical order, from the photo's name to its pixels, uint8
        `(height, width, 3)`, from 300 to 1411 pixels a side: `"astronaut"`,
        `"chelsea"` (a cat), `"china"` (a temple), `"coffee"`, `"flower"`,
        `"hubble_deep_field"`, `"ihc"` (stained tissue), `"motorcycle"`, `"retina"`,
        `"rocket"`.

    Raises:
        ImportError: If Pillow or one of the two packages is not installed.

    Example:

    ```python
    from keras_iwm.datasets import load_sample_photos

    photos = load_sample_photos()
    photos["chelsea"].shape  # (300, 451, 3)
    ```
    """
    require_pillow()
    photos = {}
    for name, (package, file) in _PHOTOS.items():
        spec = importlib.util.find_spec(package)
        path = spec and pathlib.Path(spec.submodule_search_locations[0], file)
        if not path or not path.is_file():
            raise ImportError(
                f"The sample photo {name!r} belongs to the package {package!r}, which "
                "is not installed or came without it. Install both packages with "
                "`pip install scikit-image scikit-learn`."
            )
        photos[name] = np.asarray(load_image(path, num_channels=3))
    return photos


def random_photo_crops(
    photos: Mapping[str, np.ndarray] | Sequence[np.ndarray],
    num_crops: int,
    crop_size: int,
    seed: int = 0,
    half: Literal["left", "right"] | None = None,
    min_deviation: float = 8.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts random square crops of many sizes out of photos.

    The photos take turns, so that each has the same number of crops, to within one.
    A crop's side is log-uniform between `crop_size` and the shorter side of its
    photo (or half photo), its position uniform; it is then shrunk to `crop_size`
    with antialiasing. Crops of an empty sky or of black space are drawn again.

    Crops of the same photo overlap. For a nearest-neighbour test take the neighbours
    from the left halves and the queries from the right ones.

    Args:
        photos: Dictionary or list of uint8 arrays `(height, width, 3)`.
        num_crops: Positive integer.
        crop_size: Positive integer, the side of the crops handed out, in pixels.
        seed: Non-negative integer; the crops are a pure function of it.
        half: `None` for the whole photo, `"left"` or `"right"` for that half of it.
        min_deviation: Non-negative float. A crop is drawn again when in each of its
            three channels the standard deviation of the pixels is lower than this.

    Returns:
        Tuple `(crops, labels)`: uint8 `(num_crops, crop_size, crop_size, 3)` and
        int32 `(num_crops,)`, the position of each crop's photo in `photos`.

    Raises:
        ValueError: If a photo is no uint8 colour picture, is smaller than the crops,
            or has no crop that is uneven enough.

    Example:

    ```python
    from keras_iwm.datasets import load_sample_photos, random_photo_crops

    photos = load_sample_photos()
    crops, labels = random_photo_crops(photos, num_crops=20, crop_size=32)
    crops.shape  # (20, 32, 32, 3)
    ```
    """
    require_pillow()
    num_crops = as_count("num_crops", num_crops)
    crop_size = as_count("crop_size", crop_size)
    seed = as_count("seed", seed, 0)
    if not (half is None or isinstance(half, str) and half in ("left", "right")):
        raise ValueError(f"`half` must be None, 'left' or 'right'. Received: {half!r}")
    min_deviation = as_number("min_deviation", min_deviation, 0, 255)
    if not isinstance(photos, (dict, list, tuple)):
        raise ValueError(
            f"`photos` must be a dictionary or a list of arrays. Received: "
            f"photos={shown(photos)}."
        )
    named = photos.items() if isinstance(photos, dict) else enumerate(photos)
    regions = [_region(name, photo, crop_size, half) for name, photo in named]
    if not regions:
        raise ValueError("`photos` must hold at least one photo. Received none.")

    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_crops) % len(regions)).astype("int32")
    crops = np.empty((num_crops, crop_size, crop_size, 3), dtype="uint8")
    for position, label in enumerate(labels):
        for _ in range(_MAX_DRAWS):
            crop = _random_crop(regions[label], crop_size, rng)
            if crop.std(axis=(0, 1)).max() >= min_deviation:
                break
        else:
            raise ValueError(
                f"`min_deviation={min_deviation}` is too high for photo number "
                f"{label}: {_MAX_DRAWS} crops of it were more even than that."
            )
        crops[position] = crop
    return crops, labels


def _region(name, photo, crop_size, half):
    """Returns the part of a photo that crops may come from, as a PIL image."""
    from PIL import Image

    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[-1] != 3 or photo.dtype != np.uint8:
        raise ValueError(
            f"`photos[{name!r}]` must be uint8 of shape (height, width, 3). Received: "
            f"{photo.dtype} of shape {photo.shape}"
        )
    middle = photo.shape[1] // 2
    columns = {None: slice(None), "left": slice(middle), "right": slice(middle, None)}
    region = photo[:, columns[half]]
    if min(region.shape[:2]) < crop_size:
        raise ValueError(
            f"`crop_size` must be at most the shorter side of every photo or half "
            f"photo. Photo {name!r} has {region.shape[:2]}. Received: {crop_size}"
        )
    return Image.fromarray(np.ascontiguousarray(region))


def _random_crop(region, crop_size, rng):
    """Returns one crop of a PIL image, uint8 `(crop_size, crop_size, 3)`."""
    from PIL import Image

    side = np.exp(rng.uniform(np.log(crop_size), np.log(min(region.size))))
    side = int(np.clip(round(side), crop_size, min(region.size)))
    left, top = (rng.integers(length - side + 1) for length in region.size)
    crop = region.crop((left, top, left + side, top + side))
    return np.asarray(crop.resize((crop_size,) * 2, Image.Resampling.BILINEAR))
