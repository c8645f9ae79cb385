"""A term against collapse: latents are to be a standard normal in every direction."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_number, as_optional
from keras_iwm.layers.centre_latents import centre_latents
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Config, Tensor

# Where characteristic functions are compared; that of a normal is even.
_POINTS = np.linspace(0.0, 3.0, 17)
_NORMAL = np.exp(-(_POINTS**2) / 2)
# Of the trapezoidal rule, times the weight of each point.
_WEIGHTS = (_POINTS[1] - _POINTS[0]) * _NORMAL * np.where(_POINTS % 3.0 == 0, 0.5, 1.0)


@keras.saving.register_keras_serializable(package="keras_iwm")
class SlicedGaussianRegularizer(keras.layers.Layer):
    """Loss of latents that are not normally distributed: LeJEPA's SIGReg.

    Latents that are standard normal have not collapsed: no feature is constant, and no
    two are the same. A distribution is normal if it is in every direction, so that in
    each call, random directions are looked at. In each, the characteristic function of
    the latents is compared with that of a standard normal: Epps and Pulley's test, the
    number of images times the integral over `t` from 0 to 3 of the squared difference
    times `exp(-t**2 / 2)` (arXiv 2511.08544, section 4).

    Latents are looked at without each position's mean over the batch, all patches
    together, so that latents which tell positions apart but no images are a collapse.
    The latents of an image's patches are no independent samples: the factor is the
    number of images, and not of patches. On several devices the images of all of them
    are looked at, by each in directions of its own.

    Args:
        weight: Float of at least 0. At a fifth of the default, features of small
            batches of 64 images had hardly any rank.
        num_directions: Integer, how many directions are looked at.
        seed: Optional integer, seed of the directions.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        latents: Tensor of shape `(batch_size, num_patches, hidden_dim)`.
        training: Boolean. In inference mode the directions are the same at every call.

    Returns:
        Float32 scalar.

    Example:

    ```python
    regularizer = keras_iwm.layers.SlicedGaussianRegularizer(seed=0)
    loss = regularizer(keras.random.normal((8, 16, 64)))
    ```
    """

    def __init__(
        self,
        weight: float = 0.1,
        num_directions: int = 256,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.weight = as_number("weight", weight, 0.0, float("inf"))
        self.num_directions = as_count("num_directions", num_directions)
        self.seed = as_optional(as_count, "seed", seed, -(2**63))
        self.seed_generator = keras.random.SeedGenerator(
            None if seed is None else hash_seed(self.seed, 0)
        )
        self._evaluation_seed = hash_seed(self.seed or 0, 1)
        self.built = True

    def call(self, latents: Tensor, training: bool | None = None) -> Tensor:
        """Compare the latents with a normal in random directions."""
        centred = centre_latents(latents)
        batch_size, _, hidden_dim = ops.shape(centred)
        directions = keras.random.normal(
            (hidden_dim, self.num_directions),
            dtype="float32",
            seed=self.seed_generator if training else self._evaluation_seed,
        )
        directions = directions / ops.norm(directions, axis=0, keepdims=True)
        places = ops.matmul(ops.reshape(centred, (-1, hidden_dim)), directions)
        # A point at a time: all at once would take as much memory as all latents. From
        # one to the next it is a rotation, much cheaper than a cosine and a sine.
        angles = float(_POINTS[1]) * places
        cosine, sine = ops.cos(angles), ops.sin(angles)
        real, imaginary = ops.ones_like(places), ops.zeros_like(places)
        distances = []
        for normal in _NORMAL:
            distances.append(
                ops.square(ops.mean(real, axis=0) - float(normal))
                + ops.square(ops.mean(imaginary, axis=0))
            )
            real, imaginary = (
                real * cosine - imaginary * sine,
                real * sine + imaginary * cosine,
            )
        distances = ops.mean(ops.stack(distances), axis=1)
        integral = ops.sum(distances * ops.convert_to_tensor(_WEIGHTS, "float32"))
        return self.weight * ops.cast(batch_size, "float32") * integral

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "weight": self.weight,
            "num_directions": self.num_directions,
            "seed": self.seed,
        }
