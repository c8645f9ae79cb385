"""Grayscale."""

import keras
from keras import ops

from keras_iwm.actions.pixels import luma, per_image, swap
from keras_iwm.actions.transform import Transform
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Grayscale(Transform):
    """Replace the colours of an image by its luma.

    A destructive operation of the source view (image world models,
    arXiv 2403.00504, "views"): the colour is gone, and no predictor can bring
    it back exactly. The one parameter is 1 where an image becomes grey, else 0.

    Args:
        probability: Share of the images that become grey, from 0 to 1.

    Raises:
        ValueError: If `probability` is outside [0, 1].

    Example:

    ```python
    import keras
    from keras_iwm.actions import Grayscale

    grayscale = Grayscale(probability=0.5)
    amounts = grayscale.sample(keras.random.uniform((4, grayscale.num_draws)))
    images = grayscale.apply(keras.random.uniform((4, 32, 32, 3)), amounts)
    ```
    """

    parameters = ("grayscale",)
    num_channels = 3
    identity = (0.0,)
    scales = (1.0,)

    def __init__(self, probability: float = 0.2) -> None:
        super().__init__(probability)

    def draw(self, uniforms: Tensor) -> Tensor:
        """Always 1: the gate alone decides."""
        return ops.ones_like(uniforms)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, 3)`, grey where `(batch, 1)` says 1."""
        lines, amounts = swap(images), per_image(parameters)
        return swap(clip(lines * (1.0 - amounts) + luma(lines) * amounts))
