"""The bank of augmented targets that a prediction is ranked in."""

from collections.abc import Sequence
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.actions.color_jitter import ColorJitter
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_count, as_object
from keras_iwm.type_aliases import Config


@keras.saving.register_keras_serializable(package="keras_iwm")
class RetrievalBank:
    """Parameters of the augmented targets that a prediction is ranked in.

    For each image, `size` sets of parameters are drawn from operations of the bank's
    own, whatever a model trained with, so that numbers of different models compare.
    The draw depends on the seed and the image's index alone: it is the same on
    every backend and after reloading the bank from its config. The default bank is
    the headline one, colour jitter in its default ranges; results on another bank,
    such as `RetrievalBank.doubled()`, are to be reported under another name. For a
    model with other operations, `RetrievalBank.for_actions` makes the bank.

    Source: image world models, arXiv 2403.00504 (256 entries); the ranges, and
    that the operations are always on, are this library's.

    Args:
        size: Integer, at least 2, the number of entries of an image's bank.
        shared: List of `Transform`s with probability 1, from which the entries are
            drawn. Defaults to `[ColorJitter(probability=1.0)]`.
        seed: Integer, 0 or more.

    Raises:
        ValueError: If the size or the seed is too small, or an operation is not
            always on.

    Example:

    ```python
    bank = keras_iwm.evaluation.RetrievalBank()
    bank.parameters(num_images=3).shape  # (3, 256, 4)
    ```
    """

    def __init__(
        self, size: int = 256, shared: Sequence[Transform] | None = None, seed: int = 0
    ) -> None:
        shared = [ColorJitter(probability=1.0)] if shared is None else shared
        self.size = as_count("size", size, smallest=2)
        self.seed = as_count("seed", seed, smallest=0)
        self.action_space = ActionSpace(shared)
        if not self.slots:
            raise ValueError(
                "`shared` must hold at least one Transform: a bank's entries differ by "
                f"them. Received: shared={shared!r}."
            )
        for transform in self.action_space.shared.transforms:
            if transform.probability != 1:
                raise ValueError(
                    "`shared` must hold transforms with probability=1.0: a skipped one "
                    "leaves identical entries, which cap the score of a perfect model. "
                    f"Received: {type(transform).__name__} with probability "
                    f"{transform.probability}."
                )

    @classmethod
    def doubled(cls, size: int = 256, seed: int = 0) -> Self:
        """Make the bank of twice the default ranges of colour jitter."""
        return cls(size, [ColorJitter(probability=1.0, strength=2.0)], seed)

    @classmethod
    def for_actions(
        cls, action_space: ActionSpace, size: int = 256, seed: int = 0
    ) -> Self:
        """Make the bank in which a model with these actions is measured.

        Every shared operation is always on. Colour jitter has its default ranges,
        whatever it was trained with, so that a model with it alone gets the headline
        bank; other operations have their own.

        Args:
            action_space: `ActionSpace` of a model.
            size: Integer, see the class.
            seed: Integer, see the class.

        Returns:
            A `RetrievalBank`.

        Raises:
            ValueError: If there is no shared operation.
        """
        as_object("action_space", action_space, ("shared", "slots"), "an ActionSpace")
        if not action_space.shared.transforms:
            raise ValueError(
                "`action_space` must have shared operations, which lead from one entry "
                "of a bank to another. A model without actions, such as I-JEPA, is "
                "measured by its features alone."
            )
        shared = [
            ColorJitter(probability=1.0)
            if isinstance(transform, ColorJitter)
            else type(transform).from_config(
                {**transform.get_config(), "probability": 1.0}
            )
            for transform in action_space.shared.transforms
        ]
        return cls(size, shared, seed)

    @property
    def slots(self) -> tuple[str, ...]:
        """Tuple of strings, the names of the entries' parameters."""
        return self.action_space.shared.parameters

    def parameters(self, num_images: int) -> np.ndarray:
        """Draw the parameters of the bank of each image.

        Args:
            num_images: Integer, the number of images.

        Returns:
            Float32 NumPy array of shape `(num_images, size, len(slots))`, in the
            headline bank brightness, contrast, saturation and hue of every entry.
        """
        shared = self.action_space.shared
        uniforms = np.concatenate(
            [
                np.random.default_rng([self.seed, index]).random(
                    (self.size, shared.num_draws), dtype="float32"
                )
                for index in range(num_images)
            ]
        )
        parameters = shared.sample(ops.convert_to_tensor(uniforms))
        parameters = np.asarray(ops.convert_to_numpy(parameters))
        return parameters.reshape(num_images, self.size, -1)

    def slot_parameters(self, slot: str, num_values: int = 33) -> np.ndarray:
        """Parameters that sweep one slot and leave the others alone.

        Args:
            slot: String, one of `slots`, such as `"hue"`.
            num_values: Integer, how many evenly spaced values over the slot's
                whole range.

        Returns:
            Float32 NumPy array of shape `(num_values, len(slots))`; fewer rows for a
            slot with fewer values, such as a flip's two.

        Raises:
            ValueError: If there is no such slot.
        """
        return self.action_space.sweep(slot, num_values)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        shared = self.action_space.get_config()["shared"]
        return {"size": self.size, "shared": shared, "seed": self.seed}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a bank from its config."""
        space = ActionSpace.from_config({"shared": config["shared"]})
        return cls(**{**config, "shared": space.shared.transforms})


def check_bank(bank):
    """Refuse what is no bank."""
    as_object("bank", bank, ("parameters", "slots", "size", "seed"), "a RetrievalBank")
