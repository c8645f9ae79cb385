"""Photos of a size that a camera can roam in, and where it may begin."""

import numpy as np

from keras_iwm.arguments import as_choice, shown
from keras_iwm.array_arguments import as_array
from keras_iwm.datasets.read_image import require_pillow

_HELD_OUT = 5  # Of so many photos one is for tests
_FIRST_HELD_OUT = 2
_SIDES = 4  # The most frames that fit along a photo's shorter side
_SMALLEST_DEVIATION = 8.0  # In no channel: an empty sky, or black space


def named_photos(photos):
    """Returns photos by name or position, each uint8 with three axes, or raises."""
    if not isinstance(photos, (dict, list, tuple, np.ndarray)) or not len(photos):
        raise ValueError(
            "`photos` must be a dictionary or a list of arrays, at least one. "
            f"Received: photos={shown(photos)}."
        )
    named = photos if isinstance(photos, dict) else dict(enumerate(photos))
    named = {name: as_array(f"photos[{name!r}]", p) for name, p in named.items()}
    num_channels = {photo.shape[-1:] for photo in named.values()}
    for name, photo in named.items():
        if photo.ndim != 3 or photo.dtype != np.uint8 or len(num_channels) > 1:
            raise ValueError(
                f"`photos[{name!r}]` must be uint8 of shape (height, width, "
                "num_channels), with the same num_channels in all. Received: "
                f"{photo.dtype} of shape {photo.shape}."
            )
    return named


def part_of_photos(photos, split):
    """Returns all photos of a dictionary, or those for training or for tests."""
    if split is None:
        return photos
    is_test = as_choice("split", split, ("train", "test")) == "test"
    part = {
        name: photo
        for position, (name, photo) in enumerate(photos.items())
        if is_test == (position % _HELD_OUT == _FIRST_HELD_OUT)
    }
    if not part:
        raise ValueError(
            f"`split` must leave photos: of fewer than {_FIRST_HELD_OUT + 1} none is "
            f"held out. Received: split={split!r} with {len(photos)} photos."
        )
    return part


def shrink_photo(photo, image_size):
    """Returns a photo whose shorter side is at most four times a frame's longer one.

    Args:
        photo: uint8 `(height, width, num_channels)`.
        image_size: Pair of integers, the frames'.
    """
    height, width, num_channels = photo.shape
    factor = _SIDES * max(image_size) / max(1, min(height, width))
    if factor >= 1:
        return photo
    require_pillow()
    from PIL import Image

    size = (round(factor * width), round(factor * height))
    channels = [
        Image.fromarray(np.ascontiguousarray(photo[..., channel])).resize(
            size, Image.Resampling.BILINEAR
        )
        for channel in range(num_channels)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def uneven_windows(name, photo, image_size, drift):
    """Returns the corners of the windows of a photo that are not too even.

    Args:
        name: The photo's, for messages.
        photo: uint8 `(height, width, num_channels)`.
        image_size: Pair of integers, the windows'.
        drift: Float, how far they should stay from the photo's borders, in pixels. In
            a photo that is too small for this, they are in its midst.

    Returns:
        Integers `(num_windows, 2)`, rows and columns.
    """
    room = np.array(photo.shape[:2]) - image_size
    if (room < 1).any() or (np.array(photo.shape) < 1).any():
        raise ValueError(
            f"`photos[{name!r}]` must be larger than the frames, {image_size}. "
            f"Received: {photo.shape[:2]}. Use larger photos or smaller frames."
        )
    first = np.minimum(int(np.ceil(drift)), (room - 1) // 2)
    last = np.maximum(first, room - 1 - first)
    deviation = _window_deviations(photo, image_size)
    allowed = deviation[first[0] : last[0] + 1, first[1] : last[1] + 1]
    corners = np.argwhere(allowed >= _SMALLEST_DEVIATION) + first
    if not len(corners):
        raise ValueError(
            f"`photos[{name!r}]` must show something. Received a photo whose windows "
            f"of {image_size} pixels all have a standard deviation of less than "
            f"{_SMALLEST_DEVIATION:g} in every channel. Leave it out."
        )
    return corners


def _window_deviations(photo, image_size):
    """Returns the largest channel's standard deviation in the window at each corner."""
    height, width = image_size
    means = []
    for values in (photo.astype("float64"), photo.astype("float64") ** 2):
        sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
        sums = sums[height:] - sums[:-height]
        means.append((sums[:, width:] - sums[:, :-width]) / (height * width))
    return np.sqrt(np.maximum(means[1] - means[0] ** 2, 0)).max(axis=-1)
