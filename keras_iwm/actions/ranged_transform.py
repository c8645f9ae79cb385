"""What operations with a range about their identity have in common."""

from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Config, Tensor


class RangedTransform(Transform):
    """Parameters of one identity, each uniform within `range` on either side of it."""

    largest_range = 1.0

    def __init__(self, range: float, probability: float = 1.0) -> None:
        super().__init__(probability)
        self.range = as_number("range", range, 0.0, self.largest_range)

    @property
    def scales(self) -> tuple[float, ...]:
        """Twice the range: from one end of it to the other."""
        return (2.0 * self.range,) * len(self.parameters)

    def draw(self, uniforms: Tensor) -> Tensor:
        """Uniform in [identity - range, identity + range]."""
        return self.identity[0] + self.range * (2.0 * uniforms - 1.0)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"range": self.range, **super().get_config()}
