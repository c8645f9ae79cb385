"""Colour jitter: brightness, contrast, saturation, hue."""

import keras

from keras_iwm.actions.brightness import Brightness
from keras_iwm.actions.contrast import Contrast
from keras_iwm.actions.hue import Hue
from keras_iwm.actions.saturation import Saturation
from keras_iwm.actions.transform_chain import TransformChain
from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Config


@keras.saving.register_keras_serializable(package="keras_iwm")
class ColorJitter(TransformChain):
    """Change brightness, contrast, saturation and hue, in this order.

    The operation that both views of an image world model share, each view with
    its own draw (arXiv 2403.00504, "views"). The order is fixed, because a
    random one would leave the action ambiguous, and pixels are clipped after
    each step. One gate decides for all four: a skipped image keeps its pixels
    and counts as the identity.

    Args:
        brightness: Range of the brightness factor about 1, from 0 to 1.
        contrast: Range of the contrast factor about 1, from 0 to 1.
        saturation: Range of the saturation factor about 1, from 0 to 1.
        hue: Range of the hue shift about 0, in turns, from 0 to 0.5.
        probability: Share of the images that are changed, from 0 to 1.
        strength: Multiplies the four ranges; 2.0 with the default ranges is the
            strong setting. The products must stay within the limits above.

    Raises:
        ValueError: If an argument, or its product with `strength`, is outside
            its range.

    Example:

    ```python
    import keras
    from keras_iwm.actions import ColorJitter

    jitter = ColorJitter(strength=2.0)
    parameters = jitter.sample(keras.random.uniform((4, jitter.num_draws)))
    images = jitter.apply(keras.random.uniform((4, 32, 32, 3)), parameters)
    ```
    """

    num_channels = 3

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        probability: float = 0.8,
        strength: float = 1.0,
    ) -> None:
        self.strength = as_number("strength", strength, 0.0, float("inf"))
        self.ranges = {}
        steps = []
        for name, range, step in (
            ("brightness", brightness, Brightness),
            ("contrast", contrast, Contrast),
            ("saturation", saturation, Saturation),
            ("hue", hue, Hue),
        ):
            range = as_number(name, range, 0.0, step.largest_range)
            if range * self.strength > step.largest_range:
                raise ValueError(
                    f"`{name}` times `strength` must be at most "
                    f"{step.largest_range:g}. Received: {name}={range:g}, "
                    f"strength={self.strength:g}. Lower one of them."
                )
            self.ranges[name] = range
            steps.append(step(range * self.strength))
        super().__init__(steps, probability)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **self.ranges,
            "strength": self.strength,
            "probability": self.probability,
        }
