"""A crop of a view of its own."""

import math

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.pixels import multiply_axes, per_image, resizing_matrices
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_interval
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class RelativeCrop(Transform):
    """Cut a box of the image's own shape out of it and enlarge it again.

    A geometric operation as an action: each view gets a box of its own, and the
    action says where the target's box lies in the source's, in units of the source's
    box, and how much larger it is, as a logarithm. The positions of patches count
    within each view and do not tell. What lies outside of the source's box cannot be
    seen in it, so keep the boxes large.

    The parameters are the top and the left of the box as shares of the image's
    height and width, and its side as a share of theirs.

    Args:
        scale: Smallest and largest side of the box as a share of the image's, within
            [0.1, 1]. The side is uniform in it, the place uniform in what is left.
        probability: Share of the images that are cropped, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import RelativeCrop

    crop = RelativeCrop(scale=(0.6, 1.0))
    boxes = crop.sample(keras.random.uniform((4, crop.num_draws)))
    images = crop.apply(keras.random.uniform((4, 32, 32, 3)), boxes)
    ```
    """

    parameters = ("crop_top", "crop_left", "crop_size")
    identity = (0.0, 0.0, 1.0)

    def __init__(
        self, scale: tuple[float, float] = (0.6, 1.0), probability: float = 1.0
    ) -> None:
        super().__init__(probability)
        self.scale = as_interval("scale", scale, 0.1, 1.0)

    @property
    def scales(self) -> tuple[float, ...]:
        """Largest shift in units of the smallest box, and largest logarithm."""
        smallest = self.scale[0]
        shift = (1.0 - smallest) / smallest
        return (shift, shift, -math.log(smallest))

    def draw(self, uniforms: Tensor) -> Tensor:
        """Top, left and side of boxes inside the image."""
        smallest, largest = self.scale
        side = smallest + (largest - smallest) * uniforms[:, 2:3]
        return ops.concatenate([uniforms[:, :2] * (1.0 - side), side], axis=-1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, channels)` cropped to `(batch, 3)` boxes."""
        height, width = images.shape[1:3]
        top, left, side = ops.split(parameters, 3, axis=-1)

        def matrices(start, size):
            # Two pixels at least, or no pixel's centre may lie in the box.
            length = ops.minimum(ops.maximum(side * size, 2.0), float(size))
            start = ops.minimum(start * size, size - length)
            return resizing_matrices(start, length, size, size)

        cropped = multiply_axes(images, matrices(top, height), matrices(left, width))
        # Accelerators may multiply matrices with fewer bits: no crop is no change.
        return ops.where(per_image(parameters, 2) < 1.0, cropped, images)

    def difference(self, source: Tensor, target: Tensor) -> Tensor:
        """The target's box as seen from the source's."""
        scales = ops.convert_to_tensor(
            [scale or 1.0 for scale in self.scales], dtype="float32"
        )
        shift = (target[:, :2] - source[:, :2]) / source[:, 2:3]
        ratio = ops.log(target[:, 2:3] / source[:, 2:3])
        return ops.concatenate([shift, ratio], axis=-1) / scales

    def sweep(self, parameter: str, num_values: int = 33) -> np.ndarray:
        """Run one parameter over its range with the box in the middle otherwise."""
        return self._draw_sweep(self.parameters.index(parameter), num_values)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"scale": self.scale, **super().get_config()}
