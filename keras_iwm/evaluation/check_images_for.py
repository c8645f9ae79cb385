"""A look at the images, or clips, that an encoder is to make features of."""

import numpy as np

from keras_iwm.array_arguments import as_array, check_images


def check_images_for(encoder, images, name="images") -> np.ndarray:
    """Return images as an array that fits an encoder, or clips if it takes them."""
    images = as_array(name, images)
    frames, num_frames = images, getattr(encoder, "num_frames", None)
    if num_frames is not None and images.ndim == 5 and images.size:
        if images.shape[1] != num_frames:
            raise ValueError(
                f"`{name}`, if clips, must have {num_frames} frames as the encoder was "
                f"made for. Received shape: {images.shape}. Take as many frames."
            )
        frames = images.reshape(-1, *images.shape[2:])
    facts = (encoder.image_size, encoder.value_range, name, encoder.num_channels)
    check_images(frames, *facts)
    return images
