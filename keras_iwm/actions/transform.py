"""The operation on images whose parameters are known."""

import re
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Array, Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class Transform:
    """Base class of operations on images whose parameters are known.

    A world model is told which operation led from one view to the other, so an
    operation here is split in two: `sample` draws parameters, one row an image,
    and `apply` uses them. Both are pure functions of tensors, static in shape,
    and run inside a compiled train step. To add an operation, subclass this,
    declare `parameters`, `identity` and `scales`, and write `draw` and `apply`;
    an `ActionSpace` then has its slots, and views, banks, reports and pictures
    know it.

    A subclass declares, as class attributes or properties:

    - `parameters`: tuple of k names, one slot of the action each when the
      operation is shared by both views.
    - `identity`: tuple of k floats, the parameters that leave an image unchanged.
    - `scales`: tuple of k floats, the largest difference between two draws;
      differences are divided by it, so that a slot lies in [-1, 1].
    - `num_channels`: the number of channels that it needs, 3 for operations on
      colours; `None`, the default, for any.

    Each parameter is drawn from the uniform number of its own column, if it can be:
    then `sweep` runs it alone over its range. Where the difference of parameters is
    not what leads from one view to the other, override `difference` too.

    Register the subclass with `keras.saving.register_keras_serializable` for
    models that use it to be saved, and extend `get_config` with its arguments.

    Args:
        probability: Share of the images, from 0 to 1, that the operation is
            applied to. The others get the parameters of `identity`.

    Raises:
        ValueError: If `probability` is outside [0, 1].

    Example:

    ```python
    import keras
    from keras import ops
    from keras_iwm.actions import Transform


    @keras.saving.register_keras_serializable(package="example")
    class Gamma(Transform):
        parameters = ("gamma",)
        identity = (1.0,)
        scales = (1.0,)

        def draw(self, uniforms):
            return 0.5 + uniforms

        def apply(self, images, parameters):
            return ops.power(images, ops.reshape(parameters, (-1, 1, 1, 1)))


    gamma = Gamma(probability=0.5)
    parameters = gamma.sample(keras.random.uniform((4, gamma.num_draws)))
    images = gamma.apply(keras.random.uniform((4, 32, 32, 3)), parameters)
    ```
    """

    parameters: tuple[str, ...] = ()
    identity: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    num_channels: int | None = None

    def __init__(self, probability: float = 1.0) -> None:
        self.probability = as_number("probability", probability, 0.0, 1.0)

    @property
    def name(self) -> str:
        """The class name in snake case: the slot of a destructive operation."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def num_draws(self) -> int:
        """Uniform numbers that one image uses: the gate, then one a parameter."""
        return 1 + len(self.parameters)

    def draw(self, uniforms: Tensor) -> Tensor:
        """Turn `(batch, num_draws - 1)` uniforms into `(batch, k)` parameters."""
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def sample(self, uniforms: Array) -> Tensor:
        """Parameters of each image, with `identity` where it is skipped.

        Args:
            uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

        Returns:
            `(batch, k)` float32 parameters.
        """
        uniforms = ops.convert_to_tensor(uniforms, dtype="float32")
        identity = ops.convert_to_tensor(np.float32(self.identity))
        return ops.where(
            uniforms[:, :1] < self.probability, self.draw(uniforms[:, 1:]), identity
        )

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Transform each image by its own parameters.

        Args:
            images: `(batch, height, width, channels)` float32 in [0, 1].
            parameters: `(batch, k)` float32.

        Returns:
            Images of the same shape, clipped to [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `apply`.")

    def difference(self, source: Tensor, target: Tensor) -> Tensor:
        """What leads from an image under `source` to the same under `target`.

        Args:
            source: `(batch, k)` float32 parameters.
            target: `(batch, k)` float32 parameters.

        Returns:
            `(batch, k)` float32 in [-1, 1], zeros where both are the same: the
            difference of the parameters over their scales.
        """
        # A range of zero never differs: any divisor will do.
        scales = [float(scale) or 1.0 for scale in self.scales]
        return (target - source) / ops.convert_to_tensor(np.float32(scales))

    def sweep(self, parameter: str, num_values: int = 33) -> np.ndarray:
        """Parameters in which one runs over its range and the others do nothing.

        Args:
            parameter: String, one of `parameters`.
            num_values: Integer, how many values, evenly spaced in the uniform
                number that they are drawn from.

        Returns:
            Float32 NumPy array of shape `(num_values, k)`, fewer rows if the
            parameter has fewer values.
        """
        index = self.parameters.index(parameter)
        drawn = self._draw_sweep(index, num_values)
        rows = np.tile(np.asarray(self.identity, "float32"), (len(drawn), 1))
        rows[:, index] = drawn[:, index]
        return rows

    def middle(self) -> tuple[float, ...]:
        """The parameters in the middle of their ranges: a tuple of k floats."""
        uniforms = ops.full((1, len(self.parameters)), 0.5, dtype="float32")
        drawn = ops.convert_to_numpy(self.draw(uniforms))
        return tuple(float(value) for value in drawn[0])

    def _draw_sweep(self, index, num_values):
        """Draws in which column `index` runs over its range, without repetitions."""
        uniforms = np.full((num_values, len(self.parameters)), 0.5, "float32")
        uniforms[:, index] = np.linspace(0.0, 1.0, num_values)
        drawn = np.asarray(ops.convert_to_numpy(self.draw(uniforms)), "float32")
        _, first = np.unique(drawn[:, index], return_index=True)
        return drawn[np.sort(first)]

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"probability": self.probability}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the operation from `get_config`'s dictionary."""
        return cls(**config)
