"""From files to images, or clips, of one size and dtype.

Part of the worker process of `ImageFolder` and `ClipFolder`, whose program is
`image_worker.py`: nothing of Keras is imported here.
"""

from keras_iwm.datasets.read_clip import load_clip
from keras_iwm.datasets.read_image import (
    BACKGROUND,
    MAX_PIXELS,
    describe_dtype,
    fit_image,
    load_image,
)


def read_files(
    paths,
    image_size,
    num_channels,
    background=BACKGROUND,
    max_pixels=MAX_PIXELS,
    dtype=None,
    windows=None,
):
    """Returns images as `load_image` and `fit_image` make them, or clips.

    JPEG can be decoded at a half, a quarter or an eighth of its size, several times
    faster. The smallest of these that is still twice as large as wanted is taken, so
    that a fair share of the shrinking is left to the resize, with its antialiasing.

    Args:
        paths: List of paths or of `StoredFile`s, at least one.
        image_size: Pair of integers, `(height, width)`.
        num_channels: Positive integer.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer; larger images are not decoded.
        dtype: Name of the dtype that all must have; by default that of the first.
        windows: `None` for images. For clips a list as long as `paths`, of what
            `load_clip` takes.

    Returns:
        Tuple of two lists as long as `paths`, and the name of the dtype or `None`:
        `PIL.Image.Image`s or arrays (both have `tobytes`), `None` where the file
        cannot be used; and the message that says why and names the file, else `None`.
    """
    options = (background, max_pixels)
    files, messages = [], []
    for path, window in zip(paths, windows or [None] * len(paths), strict=True):
        file = message = None
        try:
            if window is None:
                draft_size = 2 * max(image_size)
                file = load_image(path, num_channels, draft_size, *options)
                file = fit_image(file, image_size)
            else:
                file = load_clip(path, window, image_size, num_channels, *options)
            found = str(getattr(file, "dtype", "uint8"))
            dtype = dtype or found
            if found != dtype:
                kind = "image file" if window is None else "clip"
                file, message = None, describe_dtype(path, found, dtype, kind)
        except Exception as error:  # A stranger's file must not end the worker.
            file, message = None, str(error) or repr(error)
        files.append(file)
        messages.append(message)
    return files, messages, dtype
