"""Image arithmetic shared by the transforms; images are channels last."""

from keras import ops


def luma(images):
    """Brightness as seen, (batch, height, width, 1): ITU-R 601 weights."""
    return (
        0.299 * images[..., 0:1] + 0.587 * images[..., 1:2] + 0.114 * images[..., 2:3]
    )


def per_image(parameters, index=0):
    """Column `index` of (batch, k) parameters, shaped to scale whole images."""
    return ops.reshape(parameters[:, index], (-1, 1, 1, 1))


def multiply_axes(images, rows, columns):
    """Mix pixels along both axes of each image with that image's own matrices.

    `rows` is (batch, new_height, height), `columns` (batch, new_width, width):
    two batched matrix products, which every backend runs fast, and no gather.
    """
    height, width, channels = images.shape[1:]
    new_height, new_width = rows.shape[1], columns.shape[1]
    mixed = ops.matmul(rows, ops.reshape(images, (-1, height, width * channels)))
    mixed = ops.reshape(mixed, (-1, new_height, width, channels))
    # The width comes to the front so that the second product is as wide as the first.
    mixed = ops.transpose(mixed, (0, 2, 1, 3))
    mixed = ops.reshape(mixed, (-1, width, new_height * channels))
    mixed = ops.reshape(
        ops.matmul(columns, mixed), (-1, new_width, new_height, channels)
    )
    return ops.transpose(mixed, (0, 2, 1, 3))
