"""Colour jitter: brightness, contrast, saturation, hue."""

import keras
from keras import ops

from keras_iwm.arguments import as_number
from keras_iwm.transforms.brightness import Brightness
from keras_iwm.transforms.contrast import Contrast
from keras_iwm.transforms.hue import Hue
from keras_iwm.transforms.saturation import Saturation
from keras_iwm.transforms.transform import Transform


@keras.saving.register_keras_serializable(package="keras_iwm")
class ColorJitter(Transform):
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
    from keras_iwm.transforms import ColorJitter

    jitter = ColorJitter(strength=2.0)
    parameters = jitter.sample(keras.random.uniform((4, jitter.num_draws)))
    images = jitter.apply(keras.random.uniform((4, 32, 32, 3)), parameters)
    ```
    """

    parameters = ("brightness", "contrast", "saturation", "hue")

    def __init__(
        self,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        probability=0.8,
        strength=1.0,
    ):
        super().__init__(probability)
        self.strength = as_number("strength", strength, 0.0, float("inf"))
        ranges = (brightness, contrast, saturation, hue)
        steps = []
        for name, range, step in zip(
            self.parameters,
            ranges,
            (Brightness, Contrast, Saturation, Hue),
            strict=True,
        ):
            range = as_number(name, range, 0.0, step.largest_range)
            if range * self.strength > step.largest_range:
                raise ValueError(
                    f"`{name}` times `strength` must be at most "
                    f"{step.largest_range:g}. Received: {name}={range:g}, "
                    f"strength={self.strength:g}. Lower one of them."
                )
            steps.append(step(range * self.strength))
        self._ranges = tuple(float(range) for range in ranges)
        self._steps = tuple(steps)

    @property
    def identity(self):
        """Factors of 1 and a shift of 0."""
        return tuple(step.identity[0] for step in self._steps)

    @property
    def scales(self):
        """Twice each range, `strength` included."""
        return tuple(step.scales[0] for step in self._steps)

    def draw(self, uniforms):
        """`(batch, 4)` parameters, each within its own range."""
        columns = [
            step.draw(uniforms[:, index : index + 1])
            for index, step in enumerate(self._steps)
        ]
        return ops.concatenate(columns, axis=-1)

    def apply(self, images, parameters):
        """Images `(batch, height, width, 3)` changed by `(batch, 4)` parameters."""
        for index, step in enumerate(self._steps):
            images = step.apply(images, parameters[:, index : index + 1])
        return images

    def get_config(self):
        """The constructor's arguments."""
        return {
            **dict(zip(self.parameters, self._ranges, strict=True)),
            "strength": self.strength,
            **super().get_config(),
        }
