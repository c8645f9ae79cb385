"""A search for actions, compiled once."""

import keras

from keras_iwm.backend import KeptState
from keras_iwm.planning.action_energies import action_energies


class PlanSearch(KeptState, keras.Model):
    """What a planner does for a few goals at once, from pixels to actions.

    It shares the dynamics model and owns no weights. `predict_on_batch` compiles
    `call` at the first goals and serves all further ones of as many frames.

    Args:
        model: `LatentDynamicsModel`.
        search: Function of `energies_of` and draws, see `Planner.search`.
    """

    def __init__(self, model, search):
        super().__init__(dtype="float32", autocast=False)
        self.model = model
        # A method, not what it is of, which would be tracked.
        self.search = search
        self.built = True

    def call(self, inputs):
        """Encode frames and goals, and search.

        Args:
            inputs: Dictionary of `frames` `(goals, known, height, width, channels)`,
                `goals` `(goals, height, width, channels)`, `past_actions`
                `(goals, known - 1, action_dim)` and `draws`, `(goals, ...)`.

        Returns:
            Dictionary of `actions` `(goals, horizon, action_dim)`, `history`
            `(goals, rounds, horizon, action_dim)` and `energies` `(goals,)`.
        """
        known = self.model.encode(inputs["frames"])
        goals = self.model.encode(inputs["goals"][:, None])
        past = inputs["past_actions"]

        def energies_of(candidates):
            return action_energies(self.model, known, past, candidates, goals)

        history = self.search(energies_of, inputs["draws"])
        actions = history[:, -1]
        return {
            "actions": actions,
            "history": history,
            "energies": energies_of(actions[:, None])[:, 0],
        }
