"""What the datasets share that needs Pillow, which is imported only when used.

Run as a program, this file is the worker process of `ImageFolder`. So it imports
nothing of this package: a worker with Keras in it would take seconds to start.
"""

import json
import signal
import sys


def require_pillow():
    """Raises a clear error if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow: `pip install keras-iwm[images]`."
        ) from error


def fit_image(image, image_size):
    """Returns a PIL image upright, RGB, resized to cover the size and centre-cropped.

    Args:
        image: `PIL.Image.Image` of 8 bits a channel.
        image_size: Tuple `(height, width)`.
    """
    from PIL import Image, ImageOps

    if image.mode.startswith(("I", "F")):
        # Pillow would cut these values off at 255 without a word.
        raise ValueError(f"its pixels have more than 8 bits, mode {image.mode}")
    image = ImageOps.exif_transpose(image).convert("RGB")
    height, width = image_size
    return ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)


def read_image(path, image_size):
    """Returns an image file as `fit_image` makes it.

    JPEG can be decoded at a half, a quarter or an eighth of its size, several times
    faster. The smallest of these that is still twice as large as wanted is taken, so
    that a fair share of the shrinking is left to the resize, with its antialiasing.

    Args:
        path: Path of the file.
        image_size: Tuple `(height, width)`.

    Raises:
        ValueError: If the file cannot be read; the message names it.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            # The longer side for both: the file may lie on its side.
            image.draft(None, (2 * max(image_size),) * 2)
            return fit_image(image, image_size)
    except Exception as error:  # Pillow raises many kinds for a broken file.
        raise ValueError(
            f"The image file {path} could not be read ({error}). Repair or remove it."
        ) from error


def serve(requests, answers):
    """Reads images for another process until it closes the requests, or ends.

    Args:
        requests: Binary stream. Each line is JSON: a list of paths and an image size.
        answers: Binary stream. For each request comes one line of JSON, `null` and
            behind it the pixels of all images, or the message of the error.
    """
    for line in requests:
        paths, image_size = json.loads(line)
        try:
            pixels = [read_image(path, image_size).tobytes() for path in paths]
            message = None
        except Exception as error:
            pixels, message = [], str(error)
        answers.write(json.dumps(message).encode() + b"\n" + b"".join(pixels))
        answers.flush()


if __name__ == "__main__":
    # An interrupt from the keyboard is for the training process. When that ends, in
    # whatever way, the requests end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        sys.stdout = None  # or Python would try to flush it once more
