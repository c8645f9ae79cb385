"""What an action is."""

from collections.abc import Sequence
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.brightness import Brightness
from keras_iwm.actions.channel_dropout import ChannelDropout
from keras_iwm.actions.channel_gain import ChannelGain
from keras_iwm.actions.channel_offset import ChannelOffset
from keras_iwm.actions.color_jitter import ColorJitter
from keras_iwm.actions.contrast import Contrast
from keras_iwm.actions.gaussian_blur import GaussianBlur
from keras_iwm.actions.grayscale import Grayscale
from keras_iwm.actions.solarization import Solarization
from keras_iwm.actions.transform import Transform
from keras_iwm.actions.transform_chain import TransformChain
from keras_iwm.actions.transform_sequence import TransformSequence, as_objects
from keras_iwm.arguments import as_count, as_number, as_size
from keras_iwm.type_aliases import Array, Config, Names, Size, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class ActionSpace:
    """The operations that views differ by, and the slots of the action they make.

    Source and target view each get a draw of the shared operations; the source then
    gets the destructive ones too. The action is what leads from source to target: the
    `difference` of the shared parameters, a slot each, and a flag for each
    destructive operation that touched the source (image world models, arXiv
    2403.00504, "views"). All zeros is the null action. The difference does not
    determine the map exactly: brightness 0.6 to 1.0 and 1.0 to 1.4 are different
    factors.

    Views, retrieval banks, reports, pictures and probes all ask it, so an operation
    of your own, a subclass of `Transform`, is known to them.

    Args:
        shared: List of `Transform`s that both views get, each behind its own gate.
            Every parameter of theirs is a slot, named after it.
        destructive: List of `Transform`s that only the source gets. Each is a slot,
            named after it.

    Raises:
        ValueError: If one is no `Transform`, or two slots share a name.

    Example:

    ```python
    import keras
    from keras_iwm.actions import ActionSpace, ColorJitter, Grayscale

    space = ActionSpace(shared=[ColorJitter()], destructive=[Grayscale()])
    uniforms = keras.random.uniform((4, space.shared.num_draws))
    target = space.shared.sample(uniforms)
    action = space.between(space.identity(4), target)  # (4, 5)
    print(dict(zip(space.slots, action[0])))
    ```
    """

    def __init__(
        self, shared: Sequence[Transform] = (), destructive: Sequence[Transform] = ()
    ) -> None:
        self.shared = TransformSequence("shared", shared)
        self.destructive = TransformSequence("destructive", destructive)
        self.slots = (*self.shared.parameters, *self.operation_names)
        repeated = {name for name in self.slots if self.slots.count(name) > 1}
        if repeated:
            raise ValueError(
                "Each slot of the action needs its own name, but `shared` and "
                f"`destructive` give {', '.join(sorted(repeated))} twice. Leave one of "
                "the transforms out, or subclass it under another name."
            )

    @classmethod
    def default(
        cls,
        image_size: Size,
        num_channels: int = 3,
        jitter_strength: float = 1.0,
        jitter_probability: float = 0.8,
    ) -> Self:
        """Make the operations that suit images without further knowledge.

        RGB images get those of the paper: colour jitter shared; grayscale, blur and
        solarization destructive. Others get brightness, contrast, and a gain and an
        offset for each channel shared (with one channel its gain is the brightness);
        blur, solarization and, with several channels, channel dropout destructive.

        Args:
            image_size: Pair of integers, in pixels: it chooses the blur's width,
                (0.1, 2.0) above 96 pixels and (0.4, 1.0) up to 96.
            num_channels: Integer, channels of the images.
            jitter_strength: Positive float that multiplies the ranges of the shared
                operations; 2 is the paper's strong jitter.
            jitter_probability: Float in [0, 1], how often a view is jittered.

        Returns:
            An `ActionSpace`.
        """
        num_channels = as_count("num_channels", num_channels)
        jitter_strength = as_number("jitter_strength", jitter_strength, 0.0, 10.0)
        jitter_probability = as_number(
            "jitter_probability", jitter_probability, 0.0, 1.0
        )
        image_size = as_size("image_size", image_size)
        blur = GaussianBlur((0.1, 2.0) if max(image_size) > 96 else (0.4, 1.0))
        if num_channels == 3:
            jitter = ColorJitter(
                strength=jitter_strength, probability=jitter_probability
            )
            return cls([jitter], [Grayscale(), blur, Solarization()])
        steps = [Brightness(0.4 * jitter_strength), Contrast(0.4 * jitter_strength)]
        destructive = [blur, Solarization()]
        if num_channels > 1:
            steps.append(ChannelGain(num_channels, 0.2 * jitter_strength))
            destructive.append(ChannelDropout(num_channels))
        steps.append(ChannelOffset(num_channels, 0.1 * jitter_strength))
        return cls([TransformChain(steps, jitter_probability)], destructive)

    @property
    def action_dim(self) -> int:
        """Integer, slots of the action."""
        return len(self.slots)

    @property
    def operation_names(self) -> tuple[str, ...]:
        """Tuple of strings, the slots of the destructive operations."""
        return tuple(transform.name for transform in self.destructive.transforms)

    def identity(self, batch_size: int) -> Tensor:
        """Shared parameters that change nothing, `(batch_size, k)` float32."""
        row = ops.convert_to_tensor([self.shared.identity], dtype="float32")
        return ops.repeat(row, batch_size, axis=0)

    def null(self, batch_size: int) -> Tensor:
        """The action that changes nothing, zeros `(batch_size, action_dim)`."""
        return ops.zeros((batch_size, self.action_dim))

    def between(
        self, source: Array, target: Array, touched: Array | None = None
    ) -> Tensor:
        """The action that leads from one view to the other.

        Args:
            source: `(batch, k)` float32, shared parameters of the source.
            target: `(batch, k)` float32, shared parameters of the target.
            touched: Optional `(batch, number of destructive operations)` float32, 1
                for each that the source was under. By default none.

        Returns:
            `(batch, action_dim)` float32.
        """
        source, target = (
            ops.convert_to_tensor(parameters, dtype="float32")
            for parameters in (source, target)
        )
        slots = self.shared.difference(source, target)
        if touched is None:
            return ops.pad(slots, ((0, 0), (0, len(self.operation_names))))
        touched = ops.convert_to_tensor(touched, dtype="float32")
        return ops.concatenate([slots, touched], axis=-1)

    def sweep(self, slot: str, num_values: int = 33) -> np.ndarray:
        """Shared parameters in which one slot runs over its range, the others not.

        Args:
            slot: String, one of the shared operations' slots, such as `"hue"`.
            num_values: Integer, how many values, evenly spaced for operations that
                draw uniformly.

        Returns:
            Float32 NumPy array of shape `(num_values, k)`; fewer rows for a slot with
            fewer values, such as a flip's two.

        Raises:
            ValueError: If there is no such slot.
        """
        if slot not in self.shared.parameters:
            raise ValueError(
                f"`slot` must be one of {self.shared.parameters}. Received: "
                f"slot={slot!r}."
            )
        return self.shared.sweep(slot, num_values)

    def rows(self, slots: Names, parameters: Array) -> np.ndarray:
        """Shared parameters of this space from those of another one, by name.

        Args:
            slots: Tuple of strings, the names of the columns of `parameters`.
            parameters: NumPy array of shape `(..., len(slots))`.

        Returns:
            Float32 NumPy array of shape `(..., k)`, at identity where `slots` have
            nothing.

        Raises:
            ValueError: If a slot is not one of the shared operations here.
        """
        unknown = [slot for slot in slots if slot not in self.shared.parameters]
        if unknown:
            raise ValueError(
                f"The shared operations must have the slots {unknown}. They have "
                f"{self.shared.parameters}."
            )
        identity = np.asarray(self.shared.identity, "float32")
        rows = np.tile(identity, (*np.shape(parameters)[:-1], 1))
        rows[..., [self.shared.parameters.index(slot) for slot in slots]] = parameters
        return rows

    def check_channels(self, num_channels: int) -> None:
        """Refuse operations that images of so many channels cannot have.

        Args:
            num_channels: Integer.

        Raises:
            ValueError: If an operation needs another number of channels.
        """
        self.shared.check_channels(num_channels)
        self.destructive.check_channels(num_channels)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "shared": [serialize(part) for part in self.shared.transforms],
            "destructive": [serialize(part) for part in self.destructive.transforms],
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the space; parts may be objects or their dictionaries."""
        return cls(**{name: as_objects(parts) for name, parts in config.items()})
