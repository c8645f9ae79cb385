"""A channel that is missing."""

import keras
from keras import ops

from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_count
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ChannelDropout(Transform):
    """Set one channel of an image, drawn at random, to the smallest value.

    A destructive operation for images of several channels that are not RGB, in the
    place of grayscale: what the channel held is gone. The one parameter is the
    number of the dropped channel, counted from 1, and 0 where all are kept.

    Args:
        num_channels: Integer, at least 2, channels of the images.
        probability: Share of the images that lose a channel, from 0 to 1.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import ChannelDropout

    dropout = ChannelDropout(num_channels=4, probability=0.5)
    dropped = dropout.sample(keras.random.uniform((2, dropout.num_draws)))
    images = dropout.apply(keras.random.uniform((2, 32, 32, 4)), dropped)
    ```
    """

    parameters = ("channel_dropout",)
    identity = (0.0,)

    def __init__(self, num_channels: int, probability: float = 0.2) -> None:
        super().__init__(probability)
        self.num_channels = as_count("num_channels", num_channels, smallest=2)

    @property
    def scales(self) -> tuple[float, ...]:
        """The number of channels."""
        return (float(self.num_channels),)

    def draw(self, uniforms: Tensor) -> Tensor:
        """One of the channels, each as often."""
        channel = ops.floor(uniforms * self.num_channels)
        return 1.0 + ops.minimum(channel, self.num_channels - 1.0)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images without the channel that `(batch, 1)` parameters name."""
        channels = ops.arange(1, self.num_channels + 1, dtype="float32")
        dropped = ops.reshape(parameters, (-1, 1, 1, 1)) == channels
        return ops.where(dropped, 0.0, images)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"num_channels": self.num_channels, **super().get_config()}
