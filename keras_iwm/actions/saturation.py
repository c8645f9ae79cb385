"""Saturation jitter."""

import keras

from keras_iwm.actions.pixels import luma, per_image, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Saturation(RangedTransform):
    """Blend each image with its own luma by a factor.

    One of the four steps of colour jitter (image world models,
    arXiv 2403.00504, "views"); `ColorJitter` joins them. The factor is uniform
    in [1 - range, 1 + range]; 1 changes nothing, 0 takes the colour away.

    Args:
        range: From 0 to 1.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import Saturation

    saturation = Saturation(range=0.2)
    factors = saturation.sample(keras.random.uniform((4, saturation.num_draws)))
    images = saturation.apply(keras.random.uniform((4, 32, 32, 3)), factors)
    ```
    """

    parameters = ("saturation",)
    num_channels = 3
    identity = (1.0,)

    def __init__(self, range: float = 0.2, probability: float = 1.0) -> None:
        super().__init__(range, probability)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, 3)` saturated by `(batch, 1)` factors."""
        lines, factors = swap(images), per_image(parameters)
        return swap(clip(lines * factors + luma(lines) * (1.0 - factors)))
