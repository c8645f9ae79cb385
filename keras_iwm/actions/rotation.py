"""Rotation."""

import math

import keras
from keras import ops

from keras_iwm.actions.pixels import per_image
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Rotation(RangedTransform):
    """Turn each image about its centre by an angle.

    A geometric operation as an action: shared by both views, its slot is the angle
    between them, which positions of patches do not tell. The angle is uniform in
    [-range, range], in degrees, counter-clockwise; 0 changes nothing. Pixels are
    interpolated bilinearly; corners that come from outside are mirrored in.

    Args:
        range: From 0 to 180, in degrees.
        probability: Share of the images that are turned, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import Rotation

    rotation = Rotation(range=30.0)
    angles = rotation.sample(keras.random.uniform((4, rotation.num_draws)))
    images = rotation.apply(keras.random.uniform((4, 32, 32, 3)), angles)
    ```
    """

    parameters = ("rotation",)
    identity = (0.0,)
    largest_range = 180.0

    def __init__(self, range: float = 30.0, probability: float = 1.0) -> None:
        super().__init__(range, probability)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, channels)` turned by `(batch, 1)` degrees."""
        height, width = images.shape[1:3]
        angles = parameters[:, 0] * (math.pi / 180.0)
        cosine, sine = ops.cos(angles), ops.sin(angles)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        none = ops.zeros_like(cosine)
        # Rows of the matrix that leads from a pixel of the result to its source.
        matrices = ops.stack(
            [
                *(cosine, -sine, middle_x - cosine * middle_x + sine * middle_y),
                *(sine, cosine, middle_y - sine * middle_x - cosine * middle_y),
                *(none, none),
            ],
            axis=-1,
        )
        turned = ops.image.affine_transform(
            images,
            matrices,
            interpolation="bilinear",
            fill_mode="reflect",
            data_format="channels_last",
        )
        turned = ops.clip(turned, 0.0, 1.0)
        return ops.where(per_image(parameters) != 0.0, turned, images)
