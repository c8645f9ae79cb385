"""What the heads that take noise away have in common."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_number, as_optional
from keras_iwm.heads.denoising_network import DenoisingNetwork
from keras_iwm.heads.squared_error_head import as_sized
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Config, Tensor


class DenoisingHead(keras.layers.Layer):
    """Base class of heads that learn to take noise away, and sample by doing it.

    A subclass says with `add_noise` what its network sees and answers, and with
    `sample` how answers lead from noise to a patch.

    Args:
        condition_dim: Integer, features of a condition.
        patch_dim: Integer, values of a patch.
        hidden_dim: Integer, width of the network.
        num_layers: Integer, its residual blocks.
        num_noise_levels: Integer, levels of noise that each patch is seen at.
        seed: Optional integer.
        shares: Float64 array of the signal's share after each step, from 1.
        step_probabilities: Float array of the probability of each step but the zeroth.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    noises_per_level = 1

    def __init__(
        self,
        condition_dim: int,
        patch_dim: int,
        hidden_dim: int,
        num_layers: int,
        num_noise_levels: int,
        seed: int | None,
        shares: np.ndarray,
        step_probabilities: np.ndarray,
        **kwargs: Any,
    ) -> None:
        # Noise and patches are float32 whatever the precision of the network.
        super().__init__(autocast=False, **kwargs)
        self.condition_dim = as_count("condition_dim", condition_dim)
        self.patch_dim = as_count("patch_dim", patch_dim)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.num_layers = as_count("num_layers", num_layers)
        self.num_noise_levels = as_count("num_noise_levels", num_noise_levels, 1, 1000)
        self.seed = as_optional(as_count, "seed", seed, -(2**63))
        self.seed_generator = keras.random.SeedGenerator(
            None if seed is None else hash_seed(self.seed, 0)
        )
        self._evaluation_seeds = [hash_seed(self.seed or 0, k) for k in (1, 2)]
        self.shares = shares
        self._cumulative = np.cumsum(step_probabilities).astype("float32")
        self.network = DenoisingNetwork(
            self.patch_dim,
            self.hidden_dim,
            self.num_layers,
            len(shares) - 1,
            dtype=self.dtype_policy,
            name="network",
        )
        levels_shape = (None, self.num_noise_levels)
        self.network.build(
            (*levels_shape, self.patch_dim), levels_shape, (None, self.condition_dim)
        )
        self.built = True

    def add_noise(
        self, targets: Tensor, steps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what the network sees of patches, and what it is to answer."""
        raise NotImplementedError(f"{type(self).__name__} must define `add_noise`.")

    def call(
        self, conditions: Tensor, targets: Tensor, training: bool | None = None
    ) -> dict[str, Tensor]:
        """Compare the network's answers with the right ones, at drawn levels."""
        conditions = as_sized("conditions", conditions, self.condition_dim)
        targets = as_sized("targets", targets, self.patch_dim)[..., None, :]
        seeds = [self.seed_generator] * 2 if training else self._evaluation_seeds
        levels_shape = (*ops.shape(targets)[:-2], self.num_noise_levels)
        steps = self._draw_steps(levels_shape, seeds[0])
        noise_shape = (self.noises_per_level, *levels_shape, self.patch_dim)
        noise = keras.random.normal(noise_shape, dtype="float32", seed=seeds[1])
        noisy, answer = self.add_noise(targets, steps, noise)
        prediction = self.network(noisy, steps, conditions)
        return {
            "prediction": prediction,
            "target": ops.broadcast_to(answer, ops.shape(prediction)),
        }

    def _draw_steps(self, shape, seed):
        """Numbers of steps of noise, by the inverse of their distribution."""
        uniforms = keras.random.uniform(shape, dtype="float32", seed=seed)
        steps = 1 + ops.searchsorted(
            ops.convert_to_tensor(self._cumulative),
            ops.reshape(uniforms, (-1,)),
            side="right",
        )
        steps = ops.minimum(steps, len(self._cumulative))
        return ops.cast(ops.reshape(steps, shape), "int32")

    def _share(self, steps):
        """The signal's share after some steps, to be multiplied with patches."""
        shares = ops.convert_to_tensor(self.shares.astype("float32"))
        return ops.take(shares, steps, axis=0)[..., None]

    def _sample_chain(self, conditions, chain, temperature, seed):
        """Go from noise to patches.

        Args:
            conditions: Tensor of shape `(..., condition_dim)`.
            chain: Rows of a number of steps and three factors: of the patch so far, of
                the network's answer, and of new noise. Their sum is the next patch.
            temperature: Float that multiplies new noise.
            seed: Integer, `keras.random.SeedGenerator`, or `None` for the head's own.

        Returns:
            Float32 tensor of shape `(..., patch_dim)`.
        """
        conditions = as_sized("conditions", conditions, self.condition_dim)
        temperature = as_number("temperature", temperature, 0.0, float("inf"))
        if seed is None:
            seed = self.seed_generator
        elif not isinstance(seed, keras.random.SeedGenerator):
            seed = hash_seed(as_count("seed", seed, -(2**63)), 0)
        shape = (len(chain) + 1, *ops.shape(conditions)[:-1], 1, self.patch_dim)
        noise = keras.random.normal(shape, dtype="float32", seed=seed)
        steps = ops.convert_to_tensor([row[0] for row in chain], dtype="int32")
        factors = np.array([row[1:] for row in chain]) * (1.0, 1.0, temperature)
        factors = ops.convert_to_tensor(factors, dtype="float32")

        def take_step(index, patches):
            answer = self.network(
                patches, ops.take(steps, index, axis=0)[None], conditions
            )
            kept, answered, added = ops.unstack(ops.take(factors, index, axis=0), 3)
            new_noise = ops.take(noise, index + 1, axis=0)
            return kept * patches + answered * answer + added * new_noise

        return ops.fori_loop(0, len(chain), take_step, noise[0])[..., 0, :]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "condition_dim": self.condition_dim,
            "patch_dim": self.patch_dim,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_noise_levels": self.num_noise_levels,
            "seed": self.seed,
        }
