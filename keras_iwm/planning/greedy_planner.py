"""One action after the other, each the best for itself."""

from typing import Any

import numpy as np
from keras import ops

from keras_iwm.planning.best_candidates import best_candidates
from keras_iwm.planning.planner import Planner
from keras_iwm.type_aliases import Tensor


class GreedyPlanner(Planner):
    """The action that comes nearest to the goal, then the next one, and so on.

    Each is the best of `num_iterations * num_samples` drawn at random. It does not look
    ahead: where the goal is reached only by a way round, it does not find it. With a
    horizon of 1 it is the `RandomPlanner`.

    Args:
        model: As of `Planner`, and so are all others.
        horizon: See there.
        num_samples: See there.
        num_iterations: See there.
        batch_size: See there.
        seed: See there.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 64, 64, 3), "uint8")
    planner = keras_iwm.planning.GreedyPlanner(
        model, horizon=2, num_samples=4, num_iterations=1
    )
    plan = planner.plan(frames[:, :1], frames[:, 1])
    ```
    """

    def draw(self, random: np.random.Generator) -> Any:
        """Draw candidates of one action for each step."""
        shape = (self.horizon, self.num_iterations, self.num_samples)
        return random.uniform(-1, 1, (*shape, 1, self.model.action_dim))

    def search(self, energies_of: Any, draws: Tensor) -> Tensor:
        """Choose one action after the other; those to come count as zero so far."""
        chosen, history = draws[:, 0, 0, 0, :0], []
        for step in range(self.horizon):
            rounds, samples = draws.shape[2:4]
            before = ops.tile(chosen[:, None, None], (1, rounds, samples, 1, 1))
            candidates = ops.concatenate([before, draws[:, step]], axis=3)
            best = best_candidates(energies_of, candidates)
            rest = [(0, 0), (0, 0), (0, self.horizon - step - 1), (0, 0)]
            history.append(ops.pad(best, rest))
            chosen = best[:, -1]
        return ops.concatenate(history, axis=1)
