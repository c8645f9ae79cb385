"""A camera over photos: where it goes, and what it sees there.

Positions are rounded to 1/256 of a photo's pixel, and pixels are blended with weights
of 1/256 that add up to one. So a move by whole pixels moves the picture to the bit, and
four channels are blended at once: each has 16 bits of a 64-bit integer, where a value
of 8 bits times a weight of 8 bits has room.
"""

import numpy as np

UNIT = 256  # steps in a pixel, and the sum of the weights
LARGEST_LOG_ZOOM = 10.0
_WORD = np.dtype("<u8")
_LANES = 4
_HALF = _WORD.type(0x0080_0080_0080_0080)
_BYTES = _WORD.type(0x00FF_00FF_00FF_00FF)
_SHIFT = _WORD.type(8)


def camera_paths(camera, motions):
    """Returns where cameras are at each frame.

    A motion is told in the camera's own frame: it first pans by so many pixels of the
    frame, then zooms and turns about the centre. So what a motion does to the picture
    depends neither on zoom nor on angle.

    Args:
        camera: Floats `(count, 4)`: row, column, log zoom, angle in radians.
        motions: Floats `(count, steps, 4)`: pixels down, pixels right, log zoom,
            radians.

    Returns:
        Floats `(count, steps + 1, 4)`.
    """
    path = np.empty((len(camera), motions.shape[1] + 1, 4))
    path[:, 0] = camera
    for step in range(motions.shape[1]):
        row, column, log_zoom, angle = path[:, step].T
        down, right, zoom, turn = motions[:, step].T
        size = np.exp(-log_zoom)
        cosine, sine = size * np.cos(angle), size * np.sin(angle)
        path[:, step + 1] = np.stack(
            [
                row + cosine * down - sine * right,
                column + sine * down + cosine * right,
                log_zoom + zoom,
                angle + turn,
            ],
            axis=-1,
        )
    return path


def seen_positions(path, image_size):
    """Returns which place of the photo each pixel of the frames of a clip shows.

    Args:
        path: Floats `(frames, 4)`, one clip's.
        image_size: Pair of integers.

    Returns:
        Tuple of rows and columns in units of 1/256 pixel, integers
        `(frames, height, width)`.
    """
    down, right = (np.arange(side) - (side - 1) / 2 for side in image_size)
    row, column, log_zoom, angle = path.T[..., None, None]
    size = UNIT * np.exp(-log_zoom)
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    rows = (UNIT * row + cosine * down[:, None]) - sine * right
    columns = (UNIT * column + sine * down[:, None]) + cosine * right
    return tuple(np.rint(values).astype(np.int64) for values in (rows, columns))


def pack_photo(photo):
    """Returns a photo's pixels with four channels in an integer.

    Args:
        photo: uint8 `(height, width, num_channels)`.

    Returns:
        64-bit integers `(height, width, words)`.
    """
    height, width, num_channels = photo.shape
    lanes = np.zeros((height, width, -(-num_channels // _LANES) * _LANES), "<u2")
    lanes[..., :num_channels] = photo
    return lanes.view(_WORD)


def unpack_pixels(pixels, num_channels):
    """Returns uint8 `(..., num_channels)` of packed pixels `(..., words)`."""
    return np.ascontiguousarray(pixels.view("u1")[..., : 2 * num_channels : 2])


def sample_photo(photo, rows, columns):
    """Returns a packed photo at positions, mirrored beyond its borders.

    Args:
        photo: 64-bit integers `(height, width, words)`.
        rows, columns: Integers, in units of 1/256 pixel.

    Returns:
        64-bit integers, of the positions' shape with `words` at the end.
    """
    height, width, words = photo.shape
    row, below = _pixel_and_rest(rows, height)
    column, beside = _pixel_and_rest(columns, width)
    first = row * width + column
    both = (below * beside + UNIT // 2) >> 8
    pixels = photo.reshape(-1, words)
    blended = np.full((*rows.shape, words), _HALF)
    for offset, weight in (
        (0, UNIT - below - beside + both),
        (1, beside - both),
        (width, below - both),
        (width + 1, both),
    ):
        seen = pixels.take(first + offset, axis=0)
        seen *= weight.astype(_WORD)[..., None]
        blended += seen
    blended >>= _SHIFT
    blended &= _BYTES
    return blended


def paint(pixels, coverage, color):
    """Paints over packed pixels, in place.

    Args:
        pixels: 64-bit integers `(..., words)`.
        coverage: Floats, of the pixels' shape without `words`: the share of each pixel
            that is covered, rounded to 1/256.
        color: 64-bit integers `(words,)`, or with a row for each first axis of pixels.
    """
    where = np.nonzero(coverage)
    weight = np.rint(UNIT * coverage[where]).astype(_WORD)[:, None]
    color = np.broadcast_to(color, pixels.shape)[where] if color.ndim > 1 else color
    under = pixels[where]
    pixels[where] = (
        (under * (_WORD.type(UNIT) - weight) + color * weight + _HALF) >> _SHIFT
    ) & _BYTES


def _pixel_and_rest(positions, length):
    """Returns the pixel before each position, and how far beyond it lies, 0 to 256."""
    period = 2 * UNIT * (length - 1)
    if positions.min() < 0 or positions.max() > period // 2:
        positions = positions % period
        positions = np.minimum(positions, period - positions)
    pixel = np.minimum(positions >> 8, length - 2)
    return pixel, positions - (pixel << 8)
