"""What planners share: goals in batches, and draws that no batch changes."""

from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_count
from keras_iwm.planning.action_energies import ActionEnergies, run_in_batches
from keras_iwm.planning.check_clips import (
    check_actions,
    check_clips,
    check_dynamics,
    check_goals,
)
from keras_iwm.planning.plan import Plan
from keras_iwm.planning.plan_search import PlanSearch
from keras_iwm.type_aliases import Array, Tensor


class Planner:
    """Base class of searches for actions that lead to a goal image.

    A dynamics model tells from latents and actions which latents follow. A planner
    looks for the actions after which the model expects the goal's latents: it makes
    the mean absolute difference small, the *energy*. Nothing is learned, and the
    model is not changed. Actions lie in [-1, 1], each slot's range.

    A subclass has `draw` and `search`. Goals are planned for side by side, many
    candidates at once, in a program that is compiled at the first of them. What is
    drawn depends on the seed and the goal's place alone, so it is the same on all
    backends and for every batch size.

    To act, take the first action of the plan, look at what came of it, and plan again
    from there.

    Source: V-JEPA 2-AC, arXiv 2506.09985, for energy and use.

    Args:
        model: `LatentDynamicsModel` without states.
        horizon: Positive integer, how many actions lead to the goal: fewer than the
            model's `num_frames`.
        num_samples: Integer of at least 2, the candidates that are compared at once.
        num_iterations: Positive integer, how often so many are drawn.
        batch_size: Positive integer, the goals that are planned for at once: lower it
            if memory runs out. It does not change the plans.
        seed: Integer, 0 or more.

    Raises:
        ValueError: If the model is no dynamics model, or a number is out of range.

    Example:

    ```python
    class Best(keras_iwm.planning.Planner):
        # The best one of all that are drawn at once.
        def draw(self, random):
            shape = (1, self.num_samples, self.horizon, self.model.action_dim)
            return random.uniform(-1, 1, shape)

        def search(self, energies_of, draws):
            best = keras.ops.argmin(energies_of(draws[:, 0]), axis=1)
            best = keras.ops.reshape(best, (-1, 1, 1, 1))
            return keras.ops.take_along_axis(draws[:, 0], best, axis=1)
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        horizon: int = 1,
        num_samples: int = 256,
        num_iterations: int = 8,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        self.model = check_dynamics("model", model)
        self.horizon = as_count("horizon", horizon, 1, model.num_frames - 1)
        self.num_samples = as_count("num_samples", num_samples, 2)
        self.num_iterations = as_count("num_iterations", num_iterations)
        self.batch_size = as_count("batch_size", batch_size)
        self.seed = as_count("seed", seed, 0)
        self._search = PlanSearch(model, self.search)
        self._energies = ActionEnergies(model)

    def plan(
        self, frames: Array, goals: Array, past_actions: Array | None = None
    ) -> Plan:
        """Look for the actions that lead to each goal.

        Args:
            frames: Array of shape `(num_goals, num_known, height, width, channels)`,
                what is known: the frames up to the present one.
            goals: Array of shape `(num_goals, height, width, channels)`.
            past_actions: Array of shape `(num_goals, num_known - 1, action_dim)`, what
                led from each known frame to the next. Needed with more than one.

        Returns:
            A `Plan`.

        Raises:
            ValueError: If the arrays do not fit the model, or each other.
        """
        inputs = self._inputs(frames, goals, past_actions)
        places = range(len(inputs["goals"]))
        draws = [self.draw(np.random.default_rng([self.seed, p])) for p in places]
        inputs["draws"] = np.array(draws, "float32")
        return Plan(**run_in_batches(self._search, inputs, self.batch_size))

    def energies(
        self,
        frames: Array,
        goals: Array,
        actions: Array,
        past_actions: Array | None = None,
    ) -> np.ndarray:
        """Tell the energies of actions that are known, such as those that were taken.

        Args:
            frames: See `plan`.
            goals: See there.
            actions: Array of shape `(num_goals, horizon, action_dim)`.
            past_actions: See there.

        Returns:
            Float32 NumPy array of shape `(num_goals,)`.

        Raises:
            ValueError: If the arrays do not fit the model, or each other.
        """
        inputs = self._inputs(frames, goals, past_actions)
        shape = (len(inputs["goals"]), self.horizon, self.model.action_dim)
        inputs["candidates"] = check_actions("actions", actions, shape)[:, None]
        return run_in_batches(self._energies, inputs, self.batch_size)[:, 0]

    def _inputs(self, frames, goals, past_actions):
        """What is known, as arrays that fit."""
        frames = check_clips("frames", frames, self.model, following=self.horizon)
        count, known = frames.shape[:2]
        goals = check_goals(goals, count, self.model)
        shape = (count, known - 1, self.model.action_dim)
        if past_actions is None and known == 1:
            past_actions = np.zeros(shape)
        past_actions = check_actions("past_actions", past_actions, shape)
        return {"frames": frames, "goals": goals, "past_actions": past_actions}

    def draw(self, random: np.random.Generator) -> Any:
        """Draw the random numbers of one goal, `(rounds, num_samples, ...)`."""
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def search(self, energies_of: Any, draws: Tensor) -> Tensor:
        """Look for actions of low energy, in a compiled step.

        Args:
            energies_of: Function from actions `(goals, candidates, steps, action_dim)`
                to energies `(goals, candidates)`.
            draws: Tensor `(goals, ...)`, what `draw` has made for each.

        Returns:
            Tensor `(goals, rounds, horizon, action_dim)`, what was best after each
            round; the last is the plan.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `search`.")
