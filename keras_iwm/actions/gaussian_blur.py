"""Gaussian blur."""

import functools
import math

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.pixels import multiply_axes, per_image, swap
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_interval
from keras_iwm.backend import clip, computed_once
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
        lines = computed_once(swap(images))
        change = swap(multiply_axes(swap(lines), rows, columns)) - lines
        # Accelerators may multiply matrices with fewer bits: no blur is no change.
        is_blurred = ops.cast(per_image(parameters) > 0.0, "float32")
        return swap(clip(lines + is_blurred * change))

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"sigma": self.sigma, **super().get_config()}

    def _kernels(self, parameters, size):
        """Blurring matrices `(batch, size, size)` of one axis."""
        # 0.01 already underflows to the identity, and no division by 0 is left.
        sigmas = ops.maximum(parameters, 0.01)
        reach = math.ceil(5.0 * self.sigma[1])  # beyond it, less than 1e-6 of the sum
        # Torch computes a NumPy array over a tensor on the host, if it can at all.
        distances, places = map(ops.convert_to_tensor, mirrored_line(size, reach))
        weights = ops.exp(-0.5 * ops.square(distances / ops.expand_dims(sigmas, -1)))
        weights = ops.sum(weights, axis=1)
        kernels = ops.reshape(ops.matmul(weights, places), (-1, size, size))
        return kernels / ops.sum(kernels, axis=-1, keepdims=True)


@functools.cache
def mirrored_line(size, reach):
    """How far pixels of a line lie from each other and from their mirror images.

    A line that is mirrored at both ends repeats itself after twice its length, so that
    few distances are all there are.

    Args:
        size: Integer, pixels of the line.
        reach: Integer, the largest distance that counts.

    Returns:
        Distances `(number of repetitions, number of distances)` float32, and
        `(number of distances, size * size)` float32, how often each pair of pixels has
        each of them.
    """
    period, nearest = 2 * size, np.arange(min(reach, size) + 1)
    repetitions = np.arange(-(reach // period + 1), reach // period + 2)
    distances = nearest + period * repetitions[:, None]
    pixels = np.arange(size)
    places = np.zeros((len(nearest), size, size), "float32")
    for sources in (pixels, -1 - pixels):
        apart = np.abs(pixels[:, None] - sources)
        apart = np.minimum(apart, period - apart)
        places += apart == nearest[:, None, None]
    return distances.astype("float32"), places.reshape(len(nearest), -1)
