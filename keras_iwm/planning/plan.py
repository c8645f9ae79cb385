"""What a planner has found."""

from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """Actions that a planner has found, and how it came to them.

    Fields:
        actions: Float32 NumPy array of shape `(num_goals, horizon, action_dim)`.
        energies: Float32 NumPy array of shape `(num_goals,)`, the mean absolute
            difference between the latents that the model expects after the actions
            and those of the goal: what was made small.
        history: Float32 NumPy array of shape
            `(num_goals, num_rounds, horizon, action_dim)`, the actions that the
            planner would have returned after each round of its search.

    Example:

    ```python
    plan = keras_iwm.planning.Plan(
        actions=np.zeros((1, 2, 4)), energies=np.ones(1), history=np.zeros((1, 3, 2, 4))
    )
    first_action = plan.actions[:, 0]
    ```
    """

    actions: np.ndarray
    energies: np.ndarray
    history: np.ndarray
