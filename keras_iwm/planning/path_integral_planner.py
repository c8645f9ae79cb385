"""Model predictive path integral control."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_positive
from keras_iwm.planning.planner import Planner
from keras_iwm.type_aliases import Tensor


class PathIntegralPlanner(Planner):
    """Draw actions around a mean, and weigh all by their energy: MPPI.

    Candidates are the mean plus normal noise of a fixed deviation, cut to [-1, 1]. The
    new mean is theirs, weighted by `exp(-energy / temperature)`; the last one is the
    plan. Unlike in the cross-entropy method no candidate is lost, and the noise does
    not shrink.

    Energies of latents have no scale of their own. So they are divided by the
    deviation of those of the candidates: `temperature` means the same for all models.

    Source: model predictive path integral control, arXiv 1707.02342.

    Args:
        model: As of `Planner`.
        horizon: See there.
        num_samples: See there.
        num_iterations: See there.
        noise: Positive number, the deviation of the candidates from their mean.
        temperature: Positive number, in deviations of the candidates' energies. Small
            ones follow the best candidates alone.
        batch_size: See `Planner`.
        seed: See there.

    Raises:
        ValueError: If the model is no dynamics model, or a number is out of range.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 64, 64, 3), "uint8")
    planner = keras_iwm.planning.PathIntegralPlanner(
        model, num_samples=4, num_iterations=2
    )
    plan = planner.plan(frames[:, :1], frames[:, 1])
    plan.actions.shape  # (1, 1, 4)
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        horizon: int = 1,
        num_samples: int = 256,
        num_iterations: int = 8,
        noise: float = 0.5,
        temperature: float = 0.2,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(model, horizon, num_samples, num_iterations, batch_size, seed)
        self.noise = as_positive("noise", noise)
        self.temperature = as_positive("temperature", temperature)

    def draw(self, random: np.random.Generator) -> Any:
        """Draw normal noise."""
        shape = (self.num_iterations, self.num_samples)
        shape += (self.horizon, self.model.action_dim)
        return random.normal(0.0, self.noise, shape)

    def search(self, energies_of: Any, draws: Tensor) -> Tensor:
        """Move the mean to the weighted one."""

        def iterate(mean, noise):
            candidates = ops.clip(mean[:, None] + noise, -1.0, 1.0)
            energies = energies_of(candidates)
            scale = ops.std(energies, axis=1, keepdims=True) + 1e-9
            weights = ops.softmax(-energies / (self.temperature * scale), axis=1)
            mean = ops.sum(weights[..., None, None] * candidates, axis=1)
            return mean, mean

        noise = ops.moveaxis(draws, 1, 0)
        _, history = ops.scan(iterate, ops.zeros_like(noise[0, :, 0]), noise)
        return ops.moveaxis(history, 0, 1)
