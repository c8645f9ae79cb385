"""The best of many actions at random."""

from typing import Any

import numpy as np

from keras_iwm.planning.best_candidates import best_candidates
from keras_iwm.planning.planner import Planner
from keras_iwm.type_aliases import Tensor


class RandomPlanner(Planner):
    """The best of `num_iterations * num_samples` rows of actions drawn at random.

    The control of every other search: what a search finds beyond it is the search's
    own, for as many looks at the model.

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
    planner = keras_iwm.planning.RandomPlanner(model, num_samples=4, num_iterations=1)
    plan = planner.plan(frames[:, :1], frames[:, 1])
    ```
    """

    def draw(self, random: np.random.Generator) -> Any:
        """Draw actions over their whole range."""
        shape = (self.num_iterations, self.num_samples)
        shape += (self.horizon, self.model.action_dim)
        return random.uniform(-1, 1, shape)

    def search(self, energies_of: Any, draws: Tensor) -> Tensor:
        """Keep the best."""
        return best_candidates(energies_of, draws)
