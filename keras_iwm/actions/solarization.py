"""Solarization."""

import keras
from keras import ops

from keras_iwm.actions.pixels import per_image, swap
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Solarization(Transform):
    """Invert the values of an image from a threshold up.

    A destructive operation of the source view (image world models,
    arXiv 2403.00504, "views"): two values become one. The one parameter is 1
    where an image is solarized, else 0.

    Args:
        threshold: Values in [threshold, 1] are inverted; from 0 to 1.
        probability: Share of the images that are solarized, from 0 to 1.

    Raises:
        ValueError: If an argument is outside [0, 1].

    Example:

    ```python
    import keras
    from keras_iwm.actions import Solarization

    solarization = Solarization(probability=0.5)
    amounts = solarization.sample(keras.random.uniform((4, solarization.num_draws)))
    images = solarization.apply(keras.random.uniform((4, 32, 32, 3)), amounts)
    ```
    """

    parameters = ("solarization",)
    identity = (0.0,)
    scales = (1.0,)

    def __init__(self, threshold: float = 0.5, probability: float = 0.2) -> None:
        super().__init__(probability)
        self.threshold = as_number("threshold", threshold, 0.0, 1.0)

    def draw(self, uniforms: Tensor) -> Tensor:
        """Always 1: the gate alone decides."""
        return ops.ones_like(uniforms)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images of any channels, solarized where `(batch, 1)` says 1."""
        lines = swap(images)
        bright = ops.cast(lines >= self.threshold, "float32")
        amounts = ops.cast(per_image(parameters) > 0.5, "float32")
        return swap(lines + bright * amounts * (1.0 - 2.0 * lines))

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"threshold": self.threshold, **super().get_config()}
