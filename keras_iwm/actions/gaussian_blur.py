"""Gaussian blur."""

import math

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.pixels import multiply_axes, per_image
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_interval
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class GaussianBlur(Transform):
    """Blur each image with a Gaussian of its own width.

    A destructive operation of the source view (image world models,
    arXiv 2403.00504, "views"). The one parameter is the standard deviation in
    pixels, 0 where an image is left alone. Edges are mirrored with the edge
    pixel repeated (SciPy's mode "reflect"), so that flat areas stay flat.

    Args:
        sigma: Smallest and largest standard deviation, in pixels, from 0.
            Use (0.1, 2.0) at 224 pixels and (0.4, 1.0) at 96 and below, where a
            range scaled down with the image would hardly blur at all.
        probability: Share of the images that are blurred, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import GaussianBlur

    blur = GaussianBlur(sigma=(0.4, 1.0), probability=0.5)
    sigmas = blur.sample(keras.random.uniform((4, blur.num_draws)))
    images = blur.apply(keras.random.uniform((4, 32, 32, 3)), sigmas)
    ```
    """

    parameters = ("gaussian_blur",)
    identity = (0.0,)

    def __init__(
        self, sigma: tuple[float, float] = (0.1, 2.0), probability: float = 0.2
    ) -> None:
        super().__init__(probability)
        self.sigma = as_interval("sigma", sigma, 0.0, 1000.0)

    @property
    def scales(self) -> tuple[float, ...]:
        """The largest standard deviation: the step from no blur to the most."""
        return (self.sigma[1],)

    def draw(self, uniforms: Tensor) -> Tensor:
        """Standard deviations, uniform in `sigma`."""
        smallest, largest = self.sigma
        return smallest + (largest - smallest) * uniforms

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, channels)` blurred by `(batch, 1)` sigmas."""
        height, width = images.shape[1:3]
        rows = self._kernels(parameters, height)
        columns = rows if width == height else self._kernels(parameters, width)
        blurred = ops.clip(multiply_axes(images, rows, columns), 0.0, 1.0)
        # Accelerators may multiply matrices with fewer bits: no blur is no change.
        return ops.where(per_image(parameters) > 0.0, blurred, images)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"sigma": self.sigma, **super().get_config()}

    def _kernels(self, parameters, size):
        """Blurring matrices `(batch, size, size)` of one axis."""
        # 0.01 already underflows to the identity, and no division by 0 is left.
        sigmas = ops.maximum(ops.reshape(parameters, (-1, 1, 1)), 0.01)
        precision = 0.5 / (sigmas * sigmas)
        kernels = sum(
            ops.exp(-precision * ops.convert_to_tensor(squared_distances, "float32"))
            for squared_distances in self._squared_distances(size)
        )
        return kernels / ops.sum(kernels, axis=-1, keepdims=True)

    def _squared_distances(self, size):
        """From each pixel to each other one and to its mirror images in reach."""
        reach = math.ceil(5.0 * self.sigma[1])  # beyond it, less than 1e-6 of the sum
        pixels = np.arange(size)
        periods = range(-(reach // size + 1), reach // size + 2)
        for period in periods:
            for sources in (pixels, -1 - pixels):
                distances = np.abs(pixels[:, None] - (sources + 2 * size * period))
                if distances.min() <= reach:
                    yield (distances**2).astype("float32")
