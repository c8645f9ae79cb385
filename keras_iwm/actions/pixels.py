"""Image arithmetic shared by the operations.

On Torch Keras takes ten times as long over a shape or an order of axes, which are
tuples, as the operation itself takes for a small batch. Hence indices and `swapaxes`.
"""

from keras import ops


def swap(images):
    """Images `(batch, height, width, channels)` as lines, or lines as images.

    Lines, `(batch, height, channels, width)`, are what operations compute with: a
    channel's pixels lie side by side, as vector units want them, and matrices reach
    both axes without a copy. Between two operations the swaps cancel where a program
    is compiled, and are views of the same memory on Torch.
    """
    return ops.swapaxes(images, 2, 3)


def luma(lines):
    """Brightness of each pixel, `(batch, height, 1, width)`.

    ITU-R 601 weights for RGB, the mean of the channels for other counts.
    """
    if lines.shape[2] != 3:
        return ops.mean(lines, axis=2, keepdims=True)
    red, green, blue = channels(lines)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def channels(lines):
    """Each channel of lines, `(batch, height, 1, width)`."""
    return [lines[:, :, index : index + 1] for index in range(lines.shape[2])]


def per_image(parameters, index=0):
    """Column `index` of (batch, k) parameters, shaped to scale whole images."""
    return parameters[:, index, None, None, None]


def per_channel(parameters):
    """Parameters (batch, channels), shaped to scale each channel of its lines."""
    return parameters[:, None, :, None]


def multiply_axes(images, rows, columns):
    """Mix pixels along both axes of each image with that image's own matrices.

    `rows` is (batch, new_height, height), `columns` (batch, new_width, width):
    two batched matrix products, which every backend runs fast, and no gather.
    """
    height, width, channels = images.shape[1:]
    new_height, new_width = rows.shape[1], columns.shape[1]
    mixed = ops.reshape(swap(images), (-1, height, channels * width))
    mixed = ops.reshape(ops.matmul(rows, mixed), (-1, new_height * channels, width))
    mixed = ops.matmul(mixed, ops.swapaxes(columns, 1, 2))
    return swap(ops.reshape(mixed, (-1, new_height, channels, new_width)))


def resizing_matrices(start, length, size, new_size, flip=None):
    """Matrices that cut a box out of one axis and resize it, antialiased.

    Args:
        start: `(batch, 1)` float32, where the box begins, in pixels.
        length: `(batch, 1)` float32, its length in pixels, at least 1.
        size: Integer, pixels along the axis.
        new_size: Integer, pixels of the result.
        flip: Optional `(batch, 1)` float32, 1 where the axis is mirrored, else 0.

    Returns:
        `(batch, new_size, size)` float32, each row with sum 1.
    """
    start, length = (ops.expand_dims(column, axis=-1) for column in (start, length))
    new_pixels = (ops.arange(new_size, dtype="float32") + 0.5)[None, :, None]
    if flip is not None:
        flip = ops.expand_dims(flip, axis=-1)
        new_pixels = new_pixels + flip * (new_size - 2.0 * new_pixels)
    pixels = (ops.arange(size, dtype="float32") + 0.5)[None, None]
    step = length / new_size
    distances = ops.abs(pixels - start - new_pixels * step)
    # A triangle one pixel wide on either side, stretched when shrinking; only
    # pixels of the box count, or what lies beside it would bleed in.
    weights = ops.maximum(1.0 - distances / ops.maximum(step, 1.0), 0.0)
    inside = ops.logical_and(pixels > start, pixels < start + length)
    weights = weights * ops.cast(inside, "float32")
    return weights / ops.sum(weights, axis=-1, keepdims=True)
