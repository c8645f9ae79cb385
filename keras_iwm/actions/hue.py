"""Hue jitter."""

import keras
from keras import ops

from keras_iwm.actions.pixels import per_image
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
        red, green, blue = images[..., 0:1], images[..., 1:2], images[..., 2:3]
        value = ops.max(images, axis=-1, keepdims=True)
        chroma = value - ops.min(images, axis=-1, keepdims=True)
        divisor = ops.where(chroma > 0.0, chroma, 1.0)
        # In sixths of a turn, from red at 0 over green at 2 to blue at 4. Channels are
        # compared with each other and not with `value`: a compiler may compute both
        # sides of an equality with different rounding.
        hue = ops.where(
            ops.logical_and(red >= green, red >= blue),
            (green - blue) / divisor,
            ops.where(
                green >= blue,
                (blue - red) / divisor + 2.0,
                (red - green) / divisor + 4.0,
            ),
        )
        hue = hue + 6.0 * per_image(parameters)
        # A channel loses chroma with its distance on the wheel: nothing within a
        # sixth of a turn of its own colour, everything from a third on.
        offsets = ops.convert_to_tensor([-1.0, -3.0, 1.0], dtype="float32")
        position = ops.mod(hue + offsets, 6.0)
        loss = ops.clip(2.0 - ops.abs(position - 2.0), 0.0, 1.0)
        return value - chroma * loss
