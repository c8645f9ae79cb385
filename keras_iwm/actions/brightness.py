"""Brightness jitter."""

import keras

from keras_iwm.actions.pixels import per_image, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Brightness(RangedTransform):
    """Multiply every pixel by a factor drawn for each image.

    One of the four steps of colour jitter (image world models,
    arXiv 2403.00504, "views"); `ColorJitter` joins them. The factor is uniform
    in [1 - range, 1 + range] and 1 changes nothing.

    Args:
        range: From 0 to 1.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import Brightness

    brightness = Brightness(range=0.4)
    factors = brightness.sample(keras.random.uniform((4, brightness.num_draws)))
    images = brightness.apply(keras.random.uniform((4, 32, 32, 3)), factors)
    ```
    """

    parameters = ("brightness",)
    identity = (1.0,)

    def __init__(self, range: float = 0.4, probability: float = 1.0) -> None:
        super().__init__(range, probability)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, channels)` times `(batch, 1)` factors."""
        return swap(clip(swap(images) * per_image(parameters)))
