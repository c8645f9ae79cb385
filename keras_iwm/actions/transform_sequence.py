"""Operations one after the other."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_transforms
from keras_iwm.type_aliases import Array, Tensor


class TransformSequence(Transform):
    """Operations one after the other, each behind a gate of its own.

    It is itself a `Transform`, whose parameters are those of all, side by side. An
    empty one changes nothing.

    Args:
        name: String, the argument that `transforms` come from, for messages.
        transforms: List of `Transform`s in the order of their application.

    Raises:
        ValueError: If one is no transform, or two parameters share a name.
    """

    def __init__(self, name: str, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = as_transforms(name, transforms)
        self.parameters = self._join(t.parameters for t in self.transforms)
        repeated = {slot for slot in self.parameters if self.parameters.count(slot) > 1}
        if repeated:
            raise ValueError(
                f"Each parameter of `{name}` needs its own name. Received twice: "
                f"{', '.join(sorted(repeated))}. Leave one of the transforms out, or "
                "subclass it under other names."
            )

    def check_channels(self, num_channels: int) -> None:
        """Refuse operations that images of so many channels cannot have.

        Args:
            num_channels: Integer.

        Raises:
            ValueError: If an operation needs another number of channels.
        """
        for transform in self.transforms:
            if transform.num_channels not in (None, num_channels):
                raise ValueError(
                    f"{type(transform).__name__} needs images of "
                    f"{transform.num_channels} channels. Received: num_channels="
                    f"{num_channels}. Brightness, Contrast, GaussianBlur, Solarization,"
                    " Flip, Rotation and RelativeCrop take any number, ChannelGain, "
                    "ChannelOffset and ChannelDropout the one that they are made for."
                )

    @property
    def identity(self) -> tuple[float, ...]:
        """The identities of all."""
        return self._join(t.identity for t in self.transforms)

    @property
    def scales(self) -> tuple[float, ...]:
        """The scales of all."""
        return self._join(t.scales for t in self.transforms)

    @property
    def num_draws(self) -> int:
        """Uniform numbers of all."""
        return sum(transform.num_draws for transform in self.transforms)

    def draw(self, uniforms: Tensor) -> Tensor:
        """`(batch, k)` parameters, each from its own operation."""
        return self._side_by_side(lambda t, part: t.draw(part), uniforms)

    def sample(self, uniforms: Array) -> Tensor:
        """Parameters of each image, with identities where its gates are closed.

        Args:
            uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

        Returns:
            `(batch, k)` float32 parameters.
        """
        uniforms = ops.convert_to_tensor(uniforms, dtype="float32")
        parameters, start = [uniforms[:, :0]], 0
        for transform in self.transforms:
            stop = start + transform.num_draws
            parameters.append(transform.sample(uniforms[:, start:stop]))
            start = stop
        return ops.concatenate(parameters, axis=-1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images `(batch, height, width, channels)` under all operations."""
        for transform, columns in self._columns():
            images = transform.apply(images, parameters[:, columns])
        return images

    def difference(self, source: Tensor, target: Tensor) -> Tensor:
        """The differences of all, side by side."""
        return self._side_by_side(lambda t, *rows: t.difference(*rows), source, target)

    def touched(self, parameters: Tensor) -> Tensor:
        """Which operations change each image.

        Args:
            parameters: `(batch, k)` float32.

        Returns:
            `(batch, number of transforms)` float32, 1 where the parameters of an
            operation differ from its identity, else 0.
        """

        def is_touched(transform, rows):
            identity = ops.convert_to_tensor(np.float32(transform.identity))
            touched = ops.any(rows != identity, axis=-1, keepdims=True)
            return ops.cast(touched, "float32")

        parameters = ops.convert_to_tensor(parameters, dtype="float32")
        return self._side_by_side(is_touched, parameters)

    def sweep(self, parameter: str, num_values: int = 33) -> np.ndarray:
        """Run one parameter over its range, see `Transform.sweep`."""
        for transform, columns in self._columns():
            if parameter in transform.parameters:
                return self._in_columns(transform.sweep(parameter, num_values), columns)
        raise ValueError(
            f"The parameter to sweep must be one of {self.parameters}. Received: "
            f"{parameter!r}."
        )

    def middles(self) -> np.ndarray:
        """Each operation alone, in the middle of its range.

        Returns:
            Float32 NumPy array `(number of transforms, k)`; the identity where an
            operation has probability 0.
        """
        rows = [
            self._in_columns(
                [transform.middle() if transform.probability else transform.identity],
                columns,
            )
            for transform, columns in self._columns()
        ]
        return np.concatenate([np.zeros((0, len(self.parameters)), "float32"), *rows])

    def _columns(self):
        """Each operation with the slice of the parameters that are its own."""
        start = 0
        for transform in self.transforms:
            stop = start + len(transform.parameters)
            yield transform, slice(start, stop)
            start = stop

    def _in_columns(self, values, columns):
        """Rows with `values` in some columns and the identity elsewhere."""
        rows = np.tile(np.asarray(self.identity, "float32"), (len(values), 1))
        rows[:, columns] = values
        return rows

    def _side_by_side(self, function, *rows):
        """What `function` makes of each operation and its columns."""
        parts = [
            function(transform, *(row[:, columns] for row in rows))
            for transform, columns in self._columns()
        ]
        return ops.concatenate([rows[0][:, :0], *parts], axis=-1)

    @staticmethod
    def _join(tuples):
        """One tuple of many."""
        return tuple(value for values in tuples for value in values)


def as_objects(parts):
    """Objects that dictionaries describe; objects stay themselves."""
    return [
        keras.saving.deserialize_keras_object(part) if isinstance(part, dict) else part
        for part in parts
    ]
