"""The one place that turns an image file into pixels.

Run as a program, this file is the worker process of `ImageFolder`. So it imports
nothing of this package: a worker with Keras in it would take seconds to start. Pillow
is imported only when used, and NumPy and tifffile only for the files that need them.
"""

import json
import pathlib
import signal
import sys

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# The numbers of a TIFF's tags.
_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 338, 339
_UNSIGNED, _ALPHA = 1, 2


def require_pillow():
    """Raises a clear error if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow: `pip install pillow tifffile`."
        ) from error


def image_files(paths):
    """Returns the visible image files among `paths`, sorted."""
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
    )


def read_images(paths, image_size, num_channels):
    """Returns image files as `load_image` and `fit_image` make them, and their dtype.

    JPEG can be decoded at a half, a quarter or an eighth of its size, several times
    faster. The smallest of these that is still twice as large as wanted is taken, so
    that a fair share of the shrinking is left to the resize, with its antialiasing.

    Args:
        paths: List of paths, at least one.
        image_size: Pair of integers, `(height, width)`.
        num_channels: Positive integer.

    Returns:
        Tuple of a list of `PIL.Image.Image` or arrays (both have `tobytes`), and the
        name of the dtype that they share.

    Raises:
        ValueError: If a file cannot be read, has other channels, or has another
            dtype than the first; the message names it.
    """
    images, dtypes = [], {}
    for path in paths:
        image = load_image(path, num_channels, 2 * max(image_size))
        images.append(fit_image(image, image_size))
        add_dtype(dtypes, getattr(image, "dtype", "uint8"), path)
    return images, next(iter(dtypes))


def add_dtype(dtypes, dtype, path):
    """Notes that a file has a dtype; raises if an earlier one has another.

    Args:
        dtypes: Dictionary from names of dtypes to the first path that has it.
        dtype: NumPy dtype, or its name.
        path: Path of the file.
    """
    dtypes.setdefault(str(dtype), str(path))
    if len(dtypes) > 1:
        found = sorted(f"{name} in {path}" for name, path in dtypes.items())
        raise ValueError(
            "All images must have the same dtype, for their values mean different "
            f"things. Received: {' and '.join(found)}. Convert the files to one of "
            "them."
        )


def load_image(path, num_channels, draft_size=None):
    """Returns the pixels of an image file, upright, without losing a bit.

    Pictures of 8 bits that Pillow knows become grey, RGB or RGBA, for 1, 3 or 4
    channels; alpha is dropped, not applied. All other files must have `num_channels`
    channels and are taken as they are.

    Args:
        path: Path of the file.
        num_channels: Positive integer.
        draft_size: Optional integer. A JPEG file may be decoded smaller, as long as
            its sides stay longer than this.

    Returns:
        `PIL.Image.Image` of 8 bits a channel, or an array of integers or floats,
        `(height, width, num_channels)`.

    Raises:
        ValueError: If the file cannot be read, or has other channels; the message
            names it.
    """
    from PIL import Image

    try:
        image = _decode(path, draft_size)
        is_picture = isinstance(image, Image.Image)
        if is_picture and num_channels in _MODES:
            return image.convert(_MODES[num_channels])
    except ImportError as error:
        raise ValueError(
            f"The image file {path} needs the package {error.name}: "
            "`pip install pillow tifffile`."
        ) from error
    except Exception as error:  # Pillow raises many kinds for a broken file.
        raise ValueError(
            f"The image file {path} could not be read ({error}). Repair, convert or "
            "remove it."
        ) from error
    return _as_array(path, image, num_channels)


def fit_image(image, image_size):
    """Returns an image resized to cover the size, and centre-cropped.

    Each channel is resized by itself: no value of one reaches another. Integers of
    more than 8 bits and floats are resized in float32, integers then rounded. Arrays
    that have the size already stay as they are.

    Args:
        image: `PIL.Image.Image` of 8 bits a channel, or an array
            `(height, width, num_channels)`.
        image_size: Pair of integers, `(height, width)`.

    Returns:
        An image of the same kind and dtype.
    """
    from PIL import Image, ImageOps

    def fit(band):
        size = image_size[1], image_size[0]
        return ImageOps.fit(band, size, method=Image.Resampling.BILINEAR)

    if isinstance(image, Image.Image):
        if image.mode != "RGBA":
            return fit(image)
        # Pillow would multiply the other channels by the fourth, taking it for alpha.
        return Image.merge(image.mode, [fit(band) for band in image.split()])
    if image.shape[:2] == tuple(image_size):
        return image
    import numpy as np

    dtype = "uint8" if image.dtype == "uint8" else "float32"
    bands = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype)
    fitted = np.stack([fit(Image.fromarray(band)) for band in bands], axis=-1)
    if image.dtype.kind in "iu" and dtype == "float32":
        limits = np.iinfo(image.dtype)
        # The largest integers of 32 bits are not among float32's numbers.
        fitted = fitted.astype("float64").round().clip(limits.min, limits.max)
    return fitted.astype(image.dtype)


def _decode(path, draft_size):
    """Returns a file as it is: a Pillow image of 8 bits, or an array."""
    from PIL import Image, ImageOps

    suffix = pathlib.Path(path).suffix.lower()
    if suffix == ".npy":
        import numpy as np

        # Unpickling could run code that a stranger put into the file.
        return np.load(path, allow_pickle=False)
    if suffix in (".tif", ".tiff") and not _pillow_keeps_all_bits(path):
        return _decode_tiff(path)
    with Image.open(path) as image:
        if draft_size:
            # The longer side for both: the file may lie on its side.
            image.draft(None, (draft_size, draft_size))
        raw_mode = image.tile[0].args if image.format == "PNG" else None
        if raw_mode in ("LA;16B", "RGB;16B", "RGBA;16B"):
            return _decode_deep_png(path, raw_mode)
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        import numpy as np

        # Some versions of Pillow give 16 bits of a PNG in 32.
        return np.asarray(image, dtype="uint16" if raw_mode == "I;16B" else None)
    return image


def _decode_deep_png(path, raw_mode):
    """Returns a PNG in colour or with alpha of 16 bits, which Pillow cuts to 8 bits.

    Read with the other order of bytes, Pillow hands out the half that it cuts off.
    """
    import numpy as np
    from PIL import Image, ImageOps

    # Grey with alpha is as long as RGBA of 8 bits, which takes all four bytes.
    is_grey = raw_mode == "LA;16B"
    halves = []
    for mode in ["RGBA"] if is_grey else [raw_mode, raw_mode[:-1] + "L"]:
        with Image.open(path) as image:
            image.tile = [image.tile[0]._replace(args=mode)]
            halves.append(np.asarray(ImageOps.exif_transpose(image), "uint16"))
    if is_grey:
        halves = [halves[0][..., 0::2], halves[0][..., 1::2]]
    return 256 * halves[0] + halves[1]


def _pillow_keeps_all_bits(path):
    """Whether Pillow reads a TIFF whole: it cuts some to 8 bits, or to some bands."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            bits = image.tag_v2.get(_BITS, (1,))
            is_picture = (
                max(bits) <= 8
                and set(image.tag_v2.get(_SAMPLE_FORMAT, ())) <= {_UNSIGNED}
                and image.tag_v2.get(_EXTRA_SAMPLES, ()) in ((), (_ALPHA,))
            )
            is_deep = len(bits) == 1 and image.mode.startswith(("I;16", "F"))
            return image.n_frames == 1 and (is_picture or is_deep)
    except UnidentifiedImageError:
        return False


def _decode_tiff(path):
    """Returns a TIFF of any dtype and number of bands, which may be pages."""
    import numpy as np
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes, shape = series.axes, series.shape
        others = [axis for axis, name in enumerate(axes) if name not in "YX"]
        if sum(shape[axis] > 1 for axis in others) > 1:
            raise ValueError(f"it has axes {axes} of sizes {shape}")
        order = axes.index("Y"), axes.index("X"), *others
        array = np.transpose(series.asarray(), order)
    return array.reshape(*array.shape[:2], -1)


def _as_array(path, image, num_channels):
    """Returns an array with its channels last and in the machine's order of bytes."""
    import numpy as np

    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"The image file {path} must hold integers or floats of shape (height, "
            f"width) or (height, width, channels). Received: {array.dtype} of shape "
            f"{np.shape(image)}. Convert it."
        )
    if array.shape[-1] != num_channels:
        raise ValueError(
            f"The image file {path} must have {num_channels} channels, the data set's "
            f"`num_channels`. Received: {array.dtype} of shape {array.shape}. Pass "
            f"num_channels={array.shape[-1]}, or convert the file."
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def serve(requests, answers):
    """Reads images for another process until it closes the requests, or ends.

    Args:
        requests: Binary stream. Each line is JSON, the arguments of `read_images`.
        answers: Binary stream. For each request comes one line of JSON: the message
            of an error or `null`, and the name of the dtype. Behind it come, unless
            there is an error, the pixels of all images.
    """
    for line in requests:
        try:
            images, dtype = read_images(*json.loads(line))
            pixels = [image.tobytes() for image in images]
            message = None
        except Exception as error:
            pixels, message, dtype = [], str(error), None
        header = json.dumps([message, dtype]).encode()
        answers.write(header + b"\n" + b"".join(pixels))
        answers.flush()


if __name__ == "__main__":
    # An interrupt from the keyboard is for the training process. When that ends, in
    # whatever way, the requests end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        sys.stdout = None  # or Python would try to flush it once more
