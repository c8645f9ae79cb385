"""The one place that makes images of files: decoded, converted and fitted.

Part of the worker process of `ImageFolder`, whose program is `image_worker.py`. So it
imports nothing of Keras: a worker with Keras in it would take seconds to start. Pillow
is imported only when used, and NumPy and tifffile only for the files that need them.
"""

from keras_iwm.datasets.decode_image import decode
from keras_iwm.datasets.stored_file import is_empty

# Images with more pixels are refused: as RGB in Pillow this is 256 MB.
MAX_PIXELS = 64_000_000
# The grey below transparent pixels: white, as paper is.
BACKGROUND = 255
REMEDY = " Repair, convert or remove it."
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def require_pillow():
    """Raises a clear error if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow: `pip install pillow tifffile`."
        ) from error


def describe_dtype(path, found, expected, kind="image file"):
    """Returns the message about a file whose dtype is not that of the others."""
    return (
        f"The {kind} {path} holds {found}, and those before it {expected}. All must "
        "have the same dtype, for their values mean different things: convert it."
    )


def load_image(
    path, num_channels, draft_size=None, background=BACKGROUND, max_pixels=MAX_PIXELS
):
    """Returns the pixels of an image file, upright, without losing a bit.

    Pictures of 8 bits that Pillow knows become grey, RGB or RGBA, for 1, 3 or 4
    channels. For 1 and 3 what is transparent shows the background. All other files
    must have `num_channels` channels and are taken as they are.

    Args:
        path: Path of the file, or `StoredFile`.
        num_channels: Positive integer.
        draft_size: Optional integer. A JPEG file may be decoded smaller, as long as
            its sides stay longer than this.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer; larger images are not decoded.

    Returns:
        `PIL.Image.Image` of 8 bits a channel, or an array of integers or floats,
        `(height, width, num_channels)`.

    Raises:
        ValueError: If the file cannot be read, has too many pixels, or has other
            channels; the message names it.
    """
    from PIL import Image

    try:
        image = decode(path, num_channels, draft_size, background, max_pixels)
        if isinstance(image, Image.Image) and num_channels in MODES:
            return convert(image, num_channels, background)
    except ImportError as error:
        raise ValueError(
            f"The image file {path} needs the package {error.name}: "
            "`pip install pillow tifffile`."
        ) from error
    except Exception as error:  # Pillow raises many kinds for a broken file.
        raise ValueError(
            f"The image file {path} could not be read ({describe_error(error, path)})."
            f"{REMEDY}"
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


def describe_error(error, path):
    """Returns what is wrong with a file, without its name."""
    from PIL import UnidentifiedImageError

    if is_empty(path):
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is none of the kinds that are read"
    return (str(error) or repr(error)).removesuffix(REMEDY)


def convert(image, num_channels, background):
    """Returns a picture of 8 bits in grey, RGB or RGBA, its alpha applied or kept."""
    from PIL import Image

    mode = MODES[num_channels]
    if mode == "RGBA" or not image.has_transparency_data:
        return image.convert(mode)
    with_alpha = image.convert("RGBA")
    canvas = Image.new(mode, image.size, (background,) * len(mode))
    canvas.paste(with_alpha.convert(mode), mask=with_alpha.getchannel("A"))
    return canvas


def _as_array(path, image, num_channels):
    """Returns an array with its channels last and in the machine's order of bytes."""
    import numpy as np

    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype.kind not in "iuf" or 0 in array.shape:
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
