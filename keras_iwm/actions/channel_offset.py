"""An offset for each channel."""

import keras

from keras_iwm.actions.pixels import per_channel, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.arguments import as_count
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ChannelOffset(RangedTransform):
    """Add an offset of its own to each channel of an image.

    For images that are not RGB, whose channels have no common hue or saturation:
    multispectral bands, stains, detectors. Each offset is uniform in
    [-range, range], as a share of the range of values, and 0 changes nothing. The
    slots of the action are `offset_0`, `offset_1`, ...

    Args:
        num_channels: Integer, channels of the images.
        range: From 0 to 1.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import ChannelOffset

    offset = ChannelOffset(num_channels=4, range=0.1)
    offsets = offset.sample(keras.random.uniform((2, offset.num_draws)))
    images = offset.apply(keras.random.uniform((2, 32, 32, 4)), offsets)
    ```
    """

    def __init__(
        self, num_channels: int, range: float = 0.1, probability: float = 1.0
    ) -> None:
        super().__init__(range, probability)
        self.num_channels = as_count("num_channels", num_channels)

    @property
    def parameters(self) -> tuple[str, ...]:
        """`offset_0`, `offset_1`, ..."""
        return tuple(f"offset_{i}" for i in range(self.num_channels))

    @property
    def identity(self) -> tuple[float, ...]:
        """Offsets of 0."""
        return (0.0,) * self.num_channels

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images plus `(batch, num_channels)` offsets."""
        return swap(clip(swap(images) + per_channel(parameters)))

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"num_channels": self.num_channels, **super().get_config()}
