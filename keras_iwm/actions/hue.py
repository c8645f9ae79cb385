"""Hue jitter."""

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.pixels import channels, per_channel, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Hue(RangedTransform):
    """Turn the hue of each image by a shift, in HSV.

    One of the four steps of colour jitter (image world models,
    arXiv 2403.00504, "views"); `ColorJitter` joins them. The shift is uniform
    in [-range, range], in turns of the colour wheel: 0 changes nothing, 1/3
    makes red green. Value and chroma stay as they are; grey stays grey.

    Args:
        range: From 0 to 0.5, half a turn.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import Hue

    hue = Hue(range=0.1)
    shifts = hue.sample(keras.random.uniform((4, hue.num_draws)))
    images = hue.apply(keras.random.uniform((4, 32, 32, 3)), shifts)
    ```
    """

    parameters = ("hue",)
    num_channels = 3
    identity = (0.0,)
    largest_range = 0.5

    def __init__(self, range: float = 0.1, probability: float = 1.0) -> None:
        super().__init__(range, probability)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, 3)` turned by `(batch, 1)` shifts."""
        lines = swap(images)
        red, green, blue = channels(lines)
        low, high = ops.minimum(green, blue), ops.maximum(green, blue)
        smallest, value = ops.minimum(red, low), ops.maximum(red, high)
        chroma = value - smallest
        # The hue times chroma, in sixths of a turn from red, negative towards blue: no
        # division is needed, and no case for each colour, which Torch and vector units
        # take long for. Half a turn from red either sign will do, but not 0.
        sign = 2.0 * ops.cast(green >= blue, "float32") - 1.0
        hue = sign * (value - red + low + high - 2.0 * smallest)
        # Where red, green and blue lie once they are turned the other way.
        own = ops.convert_to_tensor(np.float32([[0.0, 2.0, -2.0]]))
        own = own - 6.0 * parameters
        own = per_channel(own - 6.0 * ops.round(own / 6.0))
        # A channel loses chroma with its distance on the wheel: nothing within a
        # sixth of a turn of its own colour, everything from a third on.
        nearness = ops.abs(3.0 * chroma - ops.abs(hue - own * chroma))
        turned = ops.maximum(nearness + (smallest - chroma), smallest)
        return swap(ops.minimum(turned, value))
