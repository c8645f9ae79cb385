"""Checks of arrays: images, labels and features."""

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import shown

# Values that are looked at in one array; more are looked at in evenly spaced images.
LARGEST_LOOK = 2**26
# Images that fill a smaller share of their range are those of another range.
SMALLEST_SHARE = 1 / 64


def as_array(name, value) -> np.ndarray:
    """`value` as a NumPy array of numbers, or a ValueError that says so."""
    try:
        array = value
        if not isinstance(value, np.ndarray):
            array = np.asarray(ops.convert_to_numpy(value))
    except Exception as error:  # Each backend has its own.
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: {shown(value)}."
        ) from error
    if array.dtype.kind in "OSUMmc":
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: {shown(value)}."
        )
    return array


def as_tensor(name, value, dtype="float32", num_axes=None):
    """`value` as a tensor of numbers with `num_axes` axes, at least one by default."""
    try:
        symbolic = isinstance(value, keras.KerasTensor)
        tensor = ops.cast(value if symbolic else ops.convert_to_tensor(value), dtype)
        rank = len(tensor.shape)
    except Exception:  # Each backend has its own.
        rank = 0
    if not rank or num_axes not in (None, rank):
        axes = "at least 1 axis" if num_axes is None else f"{num_axes} axes"
        raise ValueError(
            f"`{name}` must be a tensor of numbers with {axes}. Received: "
            f"{shown(value)}."
        )
    return tensor


def as_signature(name, value):
    """`value`, a list of shapes with dtypes, whose first axis alone may be open."""
    specs = keras.tree.flatten(value)
    described = isinstance(value, (list, tuple)) and all(
        getattr(spec, "shape", None) and getattr(spec, "dtype", None) for spec in specs
    )
    if not described or any(None in tuple(spec.shape)[1:] for spec in specs):
        raise ValueError(
            f"`{name}` must be a list such as [keras.InputSpec(shape=(None, 64, 64, 3),"
            " dtype='float32', name='images')]. None, for any number, may stand in the "
            f"first place alone. Received: {shown(value)}. Images of several sizes "
            "need a file for each."
        )
    return value


def check_batch_of_images(images, num_channels, value_range, name="images"):
    """Refuse what cannot be images for a model, before a step sees it.

    Args:
        images: Array or tensor.
        num_channels: Integer, the model's.
        value_range: Pair of numbers, the model's.
        name: String, the argument's name in messages.

    Raises:
        ValueError: If shape, dtype or values cannot be meant.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[-1] != num_channels or 0 in shape:
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, {num_channels}), "
            f"with at least one image. Received shape: {shape}. Add a missing axis "
            "with images[None], move channels last, or make the model with the images' "
            "`num_channels`."
        )
    dtype = str(images.dtype)  # each backend writes it in its own way
    if "int" not in dtype and "float" not in dtype:
        raise ValueError(
            f"`{name}` must hold integers or floats. Received dtype: {dtype}."
        )
    check_values(images, value_range, name)


def check_batch_of_clips(clips, num_channels, value_range, name="clips"):
    """Refuse what cannot be clips for a model, see `check_batch_of_images`."""
    shape = tuple(clips.shape)
    if len(shape) != 5 or shape[-1] != num_channels or 0 in shape:
        raise ValueError(
            f"`{name}` must have shape (num_clips, frames, height, width, "
            f"{num_channels}), with at least one clip. Received shape: {shape}. Move "
            "channels last, or make the model with the clips' `num_channels`."
        )
    if not isinstance(clips, np.ndarray):
        clips = np.asarray(ops.convert_to_numpy(clips))
    frames = clips.reshape(-1, *shape[2:])
    check_batch_of_images(frames, num_channels, value_range, name)


def check_values(images, value_range, name="images"):
    """Refuse images that cannot be meant to lie in a range of values.

    Such images train without an error: in [0, 1] under (0, 255), the spread of the
    features falls from 0.2 to 0.0005; 16-bit values under (0, 255) saturate.

    Args:
        images: Array or tensor of shape `(num_images, height, width, num_channels)`.
            Of more than 2**26 values, evenly spaced images are looked at.
        value_range: Pair of numbers, the model's.
        name: String, the argument's name in messages.

    Raises:
        ValueError: If a value is not finite or outside the range, or if the values,
            unless all are equal, fill less than 1/64 of it.
    """
    if not isinstance(images, np.ndarray):
        images = np.asarray(ops.convert_to_numpy(images))
    if images.dtype.kind not in "fiu" or not images.size or images.ndim != 4:
        return  # for others to refuse, who know the shape
    low, high = value_range
    count = max(1, int(LARGEST_LOOK * len(images) / images.size))
    if count < len(images):
        images = images[np.linspace(0, len(images) - 1, count).astype(int)]
    elif (
        images.dtype.kind != "f"
        and low <= np.iinfo(images.dtype).min
        and np.iinfo(images.dtype).max <= high
        and SMALLEST_SHARE * (high - low) < images.flat[0]
    ):
        return  # bytes in their own range, the usual case
    smallest, largest = float(images.min()), float(images.max())
    if not np.isfinite([smallest, largest]).all():
        finite = np.isfinite(images).all(axis=(1, 2, 3))
        raise ValueError(
            f"`{name}` must hold finite numbers. Received NaN or infinity "
            f"in image {int(np.flatnonzero(~finite)[0])}. Remove or repair it."
        )
    advice = (
        f"Make the model with their range, such as value_range={_guess(largest)}, or "
        "rescale the images."
    )
    if smallest < low or largest > high:
        raise ValueError(
            f"`{name}` must lie in the model's value_range ({low:g}, {high:g}). "
            f"Received values from {smallest:g} to {largest:g}. {advice}"
        )
    if smallest < largest and largest - low < SMALLEST_SHARE * (high - low):
        raise ValueError(
            f"`{name}` must fill the model's value_range ({low:g}, {high:g}). "
            f"Received values from {smallest:g} to {largest:g}, which is almost black "
            f"there. {advice}"
        )


def _guess(largest):
    """The usual range of values up to `largest`."""
    return next(((0, top) for top in (1, 255, 4095, 65535) if largest <= top), "...")


def check_images(
    images, image_size, value_range, name="images", num_channels=3
) -> np.ndarray:
    """Return images as a NumPy array, or say what is wrong with them.

    Args:
        images: Array or tensor of shape `(num_images, height, width, num_channels)`.
        image_size: Pair of integers, the height and width that are needed.
        value_range: Pair of numbers that pixels must lie in.
        name: String, the argument's name in messages.
        num_channels: Integer, the channels that are needed.

    Returns:
        NumPy array of the images, dtype unchanged.

    Raises:
        ValueError: If rank, channels, size or values are not as needed.
    """
    images = as_array(name, images)
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[-1] != num_channels or shape[0] == 0:
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, {num_channels}). "
            f"Received shape: {shape}. Stack images of one size with np.stack, and "
            "give them the model's `num_channels`."
        )
    if shape[1:3] != tuple(image_size):
        raise ValueError(
            f"`{name}` must be {tuple(image_size)} pixels (height, width), the size "
            f"the model was made for. Received: {shape[1:3]}. Crop or resize them, "
            "for instance with keras.ops.image.resize."
        )
    if images.dtype.kind not in "fiu":
        raise ValueError(f"`{name}` must hold numbers. Received dtype: {images.dtype}.")
    check_values(images, value_range, name)
    return images


def check_image_array(name, images) -> np.ndarray:
    """Return images or clips as an array, before it is known what a model takes."""
    images = as_array(name, images)
    if images.ndim not in (4, 5) or len(images) < 2:
        raise ValueError(
            f"`{name}` must have shape (num_images, height, width, num_channels), of "
            "clips (num_clips, frames, height, width, num_channels), with at least 2 "
            f"of them. Received shape: {images.shape}."
        )
    check_values(images, (-float("inf"), float("inf")), name)
    return images


def check_labels(labels, num_images, name="labels") -> np.ndarray:
    """Return labels as a NumPy vector of integers, one for each image.

    Args:
        labels: Array or tensor of integers of shape `(num_images,)`.
        num_images: Integer, how many labels are needed.
        name: String, the argument's name in messages.

    Returns:
        NumPy array of shape `(num_images,)`.

    Raises:
        ValueError: If shape or dtype is not as needed.
    """
    labels = as_array(name, labels)
    if labels.shape != (num_images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must be integers of shape ({num_images},), one for each image. "
            f"Received: shape {labels.shape}, dtype {labels.dtype}. Turn one-hot "
            "labels into integers with np.argmax(labels, axis=-1)."
        )
    return labels


def check_train_and_test_labels(train_labels, test_labels) -> int:
    """Say what is wrong with the labels that a classifier learns and is judged by.

    Args:
        train_labels: NumPy vector of integers, from `check_labels`.
        test_labels: NumPy vector of integers, from `check_labels`.

    Returns:
        Integer, the number of classes: one more than the largest training label.

    Raises:
        ValueError: If a label is negative, there are fewer than 2 classes to learn,
            or a class is tested that no training image has.
    """
    for name, labels in (("train_labels", train_labels), ("test_labels", test_labels)):
        if labels.min() < 0:
            raise ValueError(
                f"`{name}` must not be negative. Received: {labels.min()}. Leave out "
                "images without a label."
            )
    learned = np.unique(train_labels)
    if len(learned) < 2:
        raise ValueError(
            "`train_labels` must hold at least 2 classes. Received only: "
            f"{learned.tolist()}."
        )
    missing = np.setdiff1d(test_labels, learned)
    if len(missing):
        raise ValueError(
            "`train_labels` must hold every class of `test_labels`. Missing: "
            f"{missing.tolist()}. Add training images of these classes, or leave them "
            "out of the test."
        )
    return int(learned[-1]) + 1


def check_features(features, name="features") -> np.ndarray:
    """Return features as a NumPy matrix, one row an image, dtype unchanged.

    Args:
        features: Array or tensor of shape `(num_images, hidden_dim)`.
        name: String, the argument's name in messages.

    Returns:
        NumPy array of shape `(num_images, hidden_dim)`.

    Raises:
        ValueError: If `features` is not a matrix.
    """
    features = as_array(name, features)
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            f"`{name}` must have shape (num_images, hidden_dim). Received "
            f"shape: {features.shape}. extract_features makes such features."
        )
    return features
