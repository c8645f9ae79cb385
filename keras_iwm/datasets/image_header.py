"""What an image file says about itself, without its pixels being decoded."""

import pathlib

from keras_iwm.datasets.decode_image import check_pixels, open_image
from keras_iwm.datasets.stored_file import open_array, readable

_BITS_OF_MODES = {"1": 1, "I": 32, "F": 32}
_BITS = 258  # the number of a TIFF's tag


def read_header(path, max_pixels):
    """Returns a dictionary of a file's `format`, `size`, `mode`, `bits`, `channels`.

    Raises an error of any kind if it has no header that can be read, or says that it
    has too many pixels.
    """
    from PIL import UnidentifiedImageError

    suffix = pathlib.PurePath(str(path)).suffix.lower()
    if suffix == ".npy":
        array = open_array(path)
        return _array_header("NPY", array.shape, array.dtype, max_pixels)
    try:
        with open_image(path) as image:
            if image.format != "JPEG" or image.info.get("progressive"):
                check_pixels(image.size, max_pixels)
            return {
                "format": image.format,
                "size": image.size,
                "mode": image.mode,
                "bits": _bits(image),
                "channels": len(image.getbands()),
            }
    except UnidentifiedImageError:
        if suffix not in (".tif", ".tiff"):
            raise
    import tifffile

    with tifffile.TiffFile(readable(path), _multifile=False) as file:
        series = file.series[0]
        axes = series.axes
        order = sorted(range(len(axes)), key=lambda axis: f"YX{axes}".index(axes[axis]))
        shape = [series.shape[axis] for axis in order]
        return _array_header("TIFF", shape, series.dtype, max_pixels)


def _array_header(kind, shape, dtype, max_pixels):
    """Returns what `read_header` does, for an array with its channels last."""
    height, width, *others = shape
    check_pixels((width, height), max_pixels)
    channels = 1
    for count in others:
        channels *= count
    return {
        "format": kind,
        "size": (width, height),
        "mode": f"{channels} x {dtype}",
        "bits": 8 * dtype.itemsize,
        "channels": channels,
    }


def _bits(image):
    """Returns how many bits an opened Pillow image has in each channel."""
    if image.format == "PNG" and str(image.tile[0].args).endswith("16B"):
        return 16
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS, (1,)))
    return 16 if ";16" in image.mode else _BITS_OF_MODES.get(image.mode, 8)
