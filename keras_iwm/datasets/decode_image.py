"""From an image file to its pixels as they are stored, upright.

Part of the worker process of `ImageFolder`, like `read_image.py`: nothing of Keras is
imported here, and NumPy and tifffile only for the files that need them.
"""

import functools
import importlib.util
import pathlib

from keras_iwm.datasets.stored_file import StoredFile, open_array, readable

# Pillow recognises a file by what it holds, not by its suffix. Formats that run other
# programs, or that nobody keeps photos in, are not tried. The order spares imports.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
# The numbers of a TIFF's tags.
_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 338, 339
_UNSIGNED, _ALPHA = 1, 2
_DEEP_PNG = ("LA;16B", "RGB;16B", "RGBA;16B")


def open_image(path):
    """Opens a path or a `StoredFile` in Pillow, which reads its header only."""
    from PIL import Image

    formats = _FORMATS if _knows_avif() else _FORMATS[:-1]
    return Image.open(readable(path), formats=formats)


@functools.cache
def _knows_avif():
    """Whether this Pillow is new enough to know AVIF."""
    return importlib.util.find_spec("PIL.AvifImagePlugin") is not None


def image_suffixes():
    """Returns the suffixes of the files that are read, in lower case."""
    avif = ()
    if _knows_avif():
        from PIL import AvifImagePlugin

        avif = (".avif",) if AvifImagePlugin.SUPPORTED else ()
    return (
        *avif,
        *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".npy", ".png"),
        *(".tif", ".tiff", ".webp"),
    )


def check_pixels(size, max_pixels):
    """Raises if a picture of this (width, height) has too many pixels."""
    width, height = size
    if width * height > max_pixels:
        raise ValueError(
            f"it has {width} x {height} pixels, more than max_pixels={max_pixels}"
        )


def decode(path, num_channels, draft_size, background, max_pixels):
    """Returns a file as it is: a Pillow image of 8 bits, or an array.

    Of animated files it is the first frame. The number of pixels is checked before
    memory is taken for them. Arrays may have other channels than `num_channels`.

    Args:
        path: Path of the file, or `StoredFile`.
        num_channels: Positive integer. Alpha of 16 bits in a PNG is applied where one
            channel less is wanted.
        draft_size: `None`, or an integer: a JPEG file may be decoded smaller, as long
            as its sides stay longer than this.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer, the most that are decoded.
    """
    from PIL import ImageOps

    suffix = pathlib.PurePath(str(path)).suffix.lower()
    if suffix == ".npy":
        return _decode_array(path, max_pixels)
    if suffix in (".tif", ".tiff") and not _pillow_keeps_all_bits(path):
        return _decode_tiff(path, num_channels, max_pixels)
    with open_image(path) as image:
        if image.info.get("progressive"):
            # Such a JPEG takes memory for all its pixels, even if decoded small.
            check_pixels(image.size, max_pixels)
        if draft_size:
            # The longer side for both: the file may lie on its side.
            image.draft(None, (draft_size, draft_size))
        check_pixels(image.size, max_pixels)
        raw_mode = image.tile[0].args if image.format == "PNG" else None
        if raw_mode in _DEEP_PNG:
            return _decode_deep_png(path, raw_mode, num_channels, background)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        import numpy as np

        # Some versions of Pillow give 16 bits of a PNG in 32.
        return np.asarray(image, dtype="uint16" if raw_mode == "I;16B" else None)
    return image


def _decode_array(path, max_pixels):
    """Returns the array of a `.npy` file."""
    import numpy as np

    array = open_array(path)
    check_pixels((*array.shape[1::-1], 1, 1)[:2], max_pixels)
    # What is opened is not read: a file that is cut off later would end the process.
    is_read = isinstance(path, StoredFile)
    return array if is_read else np.load(path, allow_pickle=False)


def _decode_deep_png(path, raw_mode, num_channels, background):
    """Returns a PNG in colour or with alpha of 16 bits, which Pillow cuts to 8 bits.

    Read with the other order of bytes, Pillow hands out the half that it cuts off.
    """
    import numpy as np
    from PIL import ImageOps

    # Grey with alpha is as long as RGBA of 8 bits, which takes all four bytes.
    is_grey = raw_mode == "LA;16B"
    halves = []
    for mode in ["RGBA"] if is_grey else [raw_mode, raw_mode[:-1] + "L"]:
        with open_image(path) as image:
            image.tile = [image.tile[0]._replace(args=mode)]
            halves.append(np.asarray(ImageOps.exif_transpose(image), "uint16"))
    if is_grey:
        halves = [halves[0][..., 0::2], halves[0][..., 1::2]]
    pixels = 256 * halves[0] + halves[1]
    if "A" not in raw_mode or pixels.shape[-1] != num_channels + 1:
        return pixels
    weight = pixels[..., -1:] / np.float32(65535)
    colours = pixels[..., :-1] * weight + 257 * background * (1 - weight)
    return colours.round().astype("uint16")


def _pillow_keeps_all_bits(path):
    """Whether Pillow reads a TIFF whole: it cuts some to 8 bits, or to some bands."""
    from PIL import UnidentifiedImageError

    try:
        with open_image(path) as image:
            if image.format != "TIFF":
                return True
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


def _decode_tiff(path, num_channels, max_pixels):
    """Returns a TIFF of any dtype and number of bands, which may be pages."""
    import numpy as np
    import tifffile

    # What a file says about others must not make us read them.
    with tifffile.TiffFile(readable(path), _multifile=False) as file:
        series = file.series[0]
        axes, shape = series.axes, series.shape
        others = [axis for axis, name in enumerate(axes) if name not in "YX"]
        if sum(shape[axis] > 1 for axis in others) > 1:
            raise ValueError(f"it has axes {axes} of sizes {shape}")
        rows, columns = axes.index("Y"), axes.index("X")
        check_pixels((shape[columns], shape[rows]), max_pixels)
        count = int(np.prod([shape[axis] for axis in others]))
        if count != num_channels:
            sizes = (shape[rows], shape[columns], count)
            # Shows dtype and shape to whoever checks them, and takes no memory.
            return np.broadcast_to(np.zeros((), series.dtype), sizes)
        array = np.transpose(series.asarray(), (rows, columns, *others))
    return array.reshape(*array.shape[:2], -1)
