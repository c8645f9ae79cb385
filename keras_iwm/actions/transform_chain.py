"""Operations in a row with one gate for all of them."""

from collections.abc import Sequence
from typing import Self

import keras

from keras_iwm.actions.transform import Transform
from keras_iwm.actions.transform_sequence import TransformSequence, as_objects
from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Config


@keras.saving.register_keras_serializable(package="keras_iwm")
class TransformChain(TransformSequence):
    """Apply operations one after the other, all of them or none.

    One gate decides for the whole chain: a skipped image keeps its pixels and
    counts as the identity. The order is fixed, because a random one would leave
    the action ambiguous. `ColorJitter` is such a chain.

    Args:
        transforms: List of `Transform`s with probability 1, in the order of their
            application. Their parameters, in this order, are the chain's.
        probability: Share of the images that are changed, from 0 to 1.

    Raises:
        ValueError: If a transform has a gate of its own, two parameters share a
            name, or `probability` is outside [0, 1].

    Example:

    ```python
    import keras
    from keras_iwm.actions import Brightness, Contrast, TransformChain

    chain = TransformChain([Brightness(0.4), Contrast(0.4)], probability=0.8)
    parameters = chain.sample(keras.random.uniform((4, chain.num_draws)))
    images = chain.apply(keras.random.uniform((4, 32, 32, 1)), parameters)
    ```
    """

    def __init__(
        self, transforms: Sequence[Transform], probability: float = 1.0
    ) -> None:
        super().__init__("transforms", transforms)
        self.probability = as_number("probability", probability, 0.0, 1.0)
        if not self.transforms:
            raise ValueError(
                "`transforms` must hold at least one Transform. Received: "
                f"{transforms!r}."
            )
        for transform in self.transforms:
            if transform.probability != 1:
                raise ValueError(
                    "`transforms` must have probability=1: one gate decides for the "
                    f"whole chain. Received: {type(transform).__name__} with "
                    f"probability={transform.probability:g}. Give `probability` to "
                    "the chain."
                )

    num_draws = Transform.num_draws
    sample = Transform.sample

    @property
    def num_channels(self) -> int | None:
        """The number of channels that one of the operations needs, or `None`."""
        needed = [t.num_channels for t in self.transforms if t.num_channels]
        return needed[0] if needed else None

    def get_config(self) -> Config:
        """The constructor's arguments."""
        transforms = [keras.saving.serialize_keras_object(t) for t in self.transforms]
        return {"transforms": transforms, **super().get_config()}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the chain; parts may be objects or their dictionaries."""
        if "transforms" in config:
            config = {**config, "transforms": as_objects(config["transforms"])}
        return cls(**config)
