"""The cross-entropy method."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_number
from keras_iwm.planning.planner import Planner
from keras_iwm.type_aliases import Tensor


class CrossEntropyPlanner(Planner):
    """Draw actions, keep the best, draw around them: the cross-entropy method.

    Candidates are drawn from a normal distribution for each slot of each step, at
    first of mean 0 and deviation 1, and cut to [-1, 1]. Mean and deviation move to
    those of the `num_elites` candidates of the lowest energy, again and again; the
    last mean is the plan.

    Source: V-JEPA 2-AC, arXiv 2506.09985, which draws 400 to 800 samples in 10
    iterations and keeps 10.

    Args:
        model: As of `Planner`.
        horizon: See there.
        num_samples: See there.
        num_iterations: See there.
        num_elites: Integer of at least 2 and at most `num_samples`.
        momentum: Number from 0 to below 1, how much of the last mean and deviation is
            kept.
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
    planner = keras_iwm.planning.CrossEntropyPlanner(
        model, num_samples=4, num_iterations=2, num_elites=2
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
        num_elites: int = 10,
        momentum: float = 0.15,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(model, horizon, num_samples, num_iterations, batch_size, seed)
        self.num_elites = as_count("num_elites", num_elites, 2, self.num_samples)
        self.momentum = as_number("momentum", momentum, 0.0, 1.0, below=True)

    def draw(self, random: np.random.Generator) -> Any:
        """Draw normal numbers."""
        shape = (self.num_iterations, self.num_samples)
        return random.normal(size=(*shape, self.horizon, self.model.action_dim))

    def search(self, energies_of: Any, draws: Tensor) -> Tensor:
        """Move mean and deviation to those of the best."""

        def iterate(distribution, noise):
            mean, deviation = distribution
            candidates = mean[:, None] + deviation[:, None] * noise
            candidates = ops.clip(candidates, -1.0, 1.0)
            _, places = ops.top_k(-energies_of(candidates), self.num_elites)
            places = places[..., None, None]
            elites = ops.take_along_axis(candidates, places, axis=1)
            kept = self.momentum
            mean = kept * mean + (1 - kept) * ops.mean(elites, axis=1)
            deviation = kept * deviation + (1 - kept) * ops.std(elites, axis=1)
            # On TensorFlow, what is kept must be as many tensors as what goes on.
            return (mean, deviation), (mean, deviation)

        noise = ops.moveaxis(draws, 1, 0)
        start = ops.zeros_like(noise[0, :, 0])
        _, (history, _) = ops.scan(iterate, (start, start + 1.0), noise)
        return ops.moveaxis(history, 0, 1)
