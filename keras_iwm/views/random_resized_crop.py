"""Random resized crop with flip: the geometry both views share."""

import math
from typing import Self

import keras
from keras import ops

from keras_iwm.actions.pixels import multiply_axes, resizing_matrices
from keras_iwm.arguments import as_interval, as_number, as_size
from keras_iwm.type_aliases import Config, Size, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class RandomResizedCrop:
    """Cut a random box out of each image, resize it, and perhaps flip it.

    It is drawn once per image and shared by both views, so that patch positions
    correspond (image world models, arXiv 2403.00504, "views"; ranges from
    I-JEPA, arXiv 2301.08243). Shrinking is antialiased: the result equals
    Pillow's `crop` followed by a bilinear `resize`, without its rounding.

    The area is uniform in `scale`; the aspect ratio is then log-uniform over
    that part of `aspect_ratio` for which the box fits into the image. Where an
    image is too narrow for any, the box shrinks to fit and keeps the nearest
    allowed ratio.

    Args:
        image_size: Size of the result: an integer, or (height, width).
        scale: Smallest and largest area as a share of the image's, within (0, 1].
        aspect_ratio: Smallest and largest width over height, in pixels, above 0.
        flip_probability: Share of images mirrored left to right, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.views import RandomResizedCrop

    crop = RandomResizedCrop(image_size=32)
    uniforms = keras.random.uniform((4, crop.num_draws))
    parameters = crop.sample(uniforms, height=48, width=64)
    images = crop.apply(keras.random.uniform((4, 48, 64, 3)), parameters)
    ```
    """

    num_draws = 5
    identity = (0.0, 0.0, 1.0, 1.0, 0.0)

    def __init__(
        self,
        image_size: Size,
        scale: tuple[float, float] = (0.3, 1.0),
        aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip_probability: float = 0.5,
    ) -> None:
        self.image_size = as_size("image_size", image_size)
        # An empty box cannot be resized, so 0 is kept out of both intervals.
        self.scale = as_interval("scale", scale, 1e-6, 1.0)
        self.aspect_ratio = as_interval("aspect_ratio", aspect_ratio, 1e-6, 1e6)
        self.flip_probability = as_number(
            "flip_probability", flip_probability, 0.0, 1.0
        )

    def sample(self, uniforms: Tensor, height: int, width: int) -> Tensor:
        """Boxes as shares of images of one size.

        Args:
            uniforms: `(batch, 5)` float32, uniform in [0, 1): area, aspect ratio,
                top, left, flip.
            height: Height of the images to be cropped, in pixels.
            width: Their width.

        Returns:
            `(batch, 5)` float32: top, left, height and width of the box as shares
            of the image, and 1 where it is flipped, else 0.
        """
        uniforms = ops.convert_to_tensor(uniforms, dtype="float32")
        smallest, largest = self.scale
        area = smallest + (largest - smallest) * uniforms[:, 0:1]
        image_ratio = width / height
        log_range = math.log(self.aspect_ratio[0]), math.log(self.aspect_ratio[1])
        # A box fits if its ratio lies between the image's ratio times and over area.
        lowest = ops.clip(ops.log(area * image_ratio), *log_range)
        highest = ops.clip(ops.log(image_ratio / area), *log_range)
        ratio = ops.exp(lowest + (highest - lowest) * uniforms[:, 1:2])
        box_height = ops.sqrt(area * image_ratio / ratio)
        box_width = ops.sqrt(area * ratio / image_ratio)
        excess = ops.maximum(ops.maximum(box_height, box_width), 1.0)
        box_height, box_width = box_height / excess, box_width / excess
        top = uniforms[:, 2:3] * (1.0 - box_height)
        left = uniforms[:, 3:4] * (1.0 - box_width)
        flip = ops.cast(uniforms[:, 4:5] < self.flip_probability, "float32")
        return ops.concatenate([top, left, box_height, box_width, flip], axis=-1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Crop and resize each image by its own box.

        Args:
            images: `(batch, height, width, channels)` float32, in any range.
            parameters: `(batch, 5)` float32, as from `sample`. Boxes are rounded
                to whole pixels.

        Returns:
            `(batch, image_size[0], image_size[1], channels)` float32.
        """
        height, width = images.shape[1:3]
        top, left, box_height, box_width, flip = ops.split(parameters, 5, axis=-1)
        rows = self._matrices(top, box_height, height, self.image_size[0])
        columns = self._matrices(left, box_width, width, self.image_size[1], flip)
        return multiply_axes(images, rows, columns)

    def _matrices(self, start, length, size, new_size, flip=None):
        """Resizing matrices `(batch, new_size, size)` of one axis."""
        length = ops.clip(ops.round(length * size), 1.0, float(size))
        start = ops.minimum(ops.round(start * size), size - length)
        return resizing_matrices(start, length, size, new_size, flip)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            "image_size": self.image_size,
            "scale": self.scale,
            "aspect_ratio": self.aspect_ratio,
            "flip_probability": self.flip_probability,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the crop from `get_config`'s dictionary."""
        return cls(**config)
