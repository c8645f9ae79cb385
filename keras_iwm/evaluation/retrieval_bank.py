"""The bank of augmented targets that a prediction is ranked in."""

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.color_jitter import ColorJitter


@keras.saving.register_keras_serializable(package="keras_iwm")
class RetrievalBank:
    """Parameters of the augmented targets that a prediction is ranked in.

    For each image, `size` colour jitters are drawn from the bank's own ranges,
    whatever a model trained with, so that numbers of different models compare.
    The draw depends on the seed and the image's index alone: it is the same on
    every backend and after reloading the bank from its config. The default bank is
    the headline one; results on another bank, such as `RetrievalBank.doubled()`,
    are to be reported under another name.

    Source: image world models, arXiv 2403.00504 (256 entries); the ranges, and
    that the jitter is always on, are this library's.

    Args:
        size: Integer, at least 2, the number of entries of an image's bank.
        jitter: `ColorJitter` with probability 1, from which the entries are drawn.
            Defaults to `ColorJitter(probability=1.0)`.
        seed: Integer, 0 or more.

    Raises:
        ValueError: If the size or the seed is too small, or the jitter is another
            transform or not always on.

    Example:

    ```python
    bank = keras_iwm.evaluation.RetrievalBank()
    bank.parameters(num_images=3).shape  # (3, 256, 4)
    ```
    """

    def __init__(self, size=256, jitter=None, seed=0):
        jitter = ColorJitter(probability=1.0) if jitter is None else jitter
        if isinstance(size, bool) or int(size) != size or size < 2:
            raise ValueError(
                "`size` must be an integer of at least 2; 256 is the headline bank. "
                f"Received: size={size}."
            )
        if not isinstance(jitter, ColorJitter) or jitter.probability != 1:
            raise ValueError(
                "`jitter` must be a ColorJitter with probability=1.0: a skipped jitter "
                "leaves identical entries, which cap the score of a perfect model. "
                f"Received: {jitter!r} with probability "
                f"{getattr(jitter, 'probability', None)}."
            )
        if isinstance(seed, bool) or int(seed) != seed or seed < 0:
            raise ValueError(
                f"`seed` must be an integer of 0 or more. Received: seed={seed}."
            )
        self.size = int(size)
        self.jitter = jitter
        self.seed = int(seed)

    @classmethod
    def doubled(cls, size=256, seed=0):
        """Make the bank of twice the default ranges."""
        return cls(size, ColorJitter(probability=1.0, strength=2.0), seed)

    def parameters(self, num_images):
        """Draw the jitter parameters of the bank of each image.

        Args:
            num_images: Integer, the number of images.

        Returns:
            Float32 NumPy array of shape `(num_images, size, 4)`: brightness,
            contrast, saturation and hue of every entry.
        """
        uniforms = np.concatenate(
            [
                np.random.default_rng([self.seed, index]).random(
                    (self.size, self.jitter.num_draws), dtype="float32"
                )
                for index in range(num_images)
            ]
        )
        parameters = self.jitter.sample(ops.convert_to_tensor(uniforms))
        parameters = np.asarray(ops.convert_to_numpy(parameters))
        return parameters.reshape(num_images, self.size, -1)

    def slot_parameters(self, slot, num_values=33):
        """Jitter parameters that sweep one slot and leave the others alone.

        Args:
            slot: String, one of `jitter.parameters`, such as `"hue"`.
            num_values: Integer, how many evenly spaced values over the slot's
                whole range.

        Returns:
            Float32 NumPy array of shape `(num_values, 4)`.

        Raises:
            ValueError: If the jitter has no such slot.
        """
        if slot not in self.jitter.parameters:
            raise ValueError(
                f"`slot` must be one of {self.jitter.parameters}. Received: "
                f"slot={slot!r}."
            )
        index = self.jitter.parameters.index(slot)
        middle, half = self.jitter.identity[index], self.jitter.scales[index] / 2
        parameters = np.tile(
            np.asarray(self.jitter.identity, "float32"), (num_values, 1)
        )
        parameters[:, index] = np.linspace(middle - half, middle + half, num_values)
        return parameters

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "size": self.size,
            "jitter": keras.saving.serialize_keras_object(self.jitter),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """Make a bank from its config."""
        jitter = keras.saving.deserialize_keras_object(config["jitter"])
        return cls(**{**config, "jitter": jitter})
