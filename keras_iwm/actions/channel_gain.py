"""A gain for each channel."""

import keras

from keras_iwm.actions.pixels import per_channel, swap
from keras_iwm.actions.ranged_transform import RangedTransform
from keras_iwm.arguments import as_count
from keras_iwm.backend import clip
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ChannelGain(RangedTransform):
    """Multiply each channel of an image by a factor of its own.

    For images that are not RGB, whose channels have no common hue or saturation:
    multispectral bands, stains, detectors. Each factor is uniform in
    [1 - range, 1 + range] and 1 changes nothing. The slots of the action are
    `gain_0`, `gain_1`, ...

    Args:
        num_channels: Integer, channels of the images.
        range: From 0 to 1.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import ChannelGain

    gain = ChannelGain(num_channels=4, range=0.2)
    factors = gain.sample(keras.random.uniform((2, gain.num_draws)))
    images = gain.apply(keras.random.uniform((2, 32, 32, 4)), factors)
    ```
    """

    def __init__(
        self, num_channels: int, range: float = 0.2, probability: float = 1.0
    ) -> None:
        super().__init__(range, probability)
        self.num_channels = as_count("num_channels", num_channels)

    @property
    def parameters(self) -> tuple[str, ...]:
        """`gain_0`, `gain_1`, ..."""
        return tuple(f"gain_{i}" for i in range(self.num_channels))

    @property
    def identity(self) -> tuple[float, ...]:
        """Factors of 1."""
        return (1.0,) * self.num_channels

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images times `(batch, num_channels)` factors."""
        return swap(clip(swap(images) * per_channel(parameters)))

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"num_channels": self.num_channels, **super().get_config()}
