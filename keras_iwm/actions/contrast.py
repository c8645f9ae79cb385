"""Contrast jitter."""

import keras
from keras import ops

from keras_iwm.actions.pixels import luma, per_image, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Contrast(RangedTransform):
    """Stretch each image about its own mean luma by a factor.

    Without colours, that is with other than three channels, the mean of all channels
    takes the place of the luma.

    One of the four steps of colour jitter (image world models,
    arXiv 2403.00504, "views"); `ColorJitter` joins them. The factor is uniform
    in [1 - range, 1 + range]; 1 changes nothing, 0 leaves a flat grey.

    Args:
        range: From 0 to 1.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import Contrast

    contrast = Contrast(range=0.4)
    factors = contrast.sample(keras.random.uniform((4, contrast.num_draws)))
    images = contrast.apply(keras.random.uniform((4, 32, 32, 3)), factors)
    ```
    """

    parameters = ("contrast",)
    identity = (1.0,)

    def __init__(self, range: float = 0.4, probability: float = 1.0) -> None:
        super().__init__(range, probability)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images of any channels stretched by `(batch, 1)` factors."""
        lines, factors = swap(images), per_image(parameters)
        pivot = luma(ops.mean(lines, axis=(1, 3), keepdims=True))
        # Written as a blend so that a factor of 1 gives the pixels back exactly.
        return swap(clip(lines * factors + pivot * (1.0 - factors)))
