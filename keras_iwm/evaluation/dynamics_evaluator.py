"""Measurement of a model of dynamics on clips, repeatable."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.evaluation.dynamics_errors import DynamicsErrors
from keras_iwm.metrics.ranks import TIE, ranks_from_distances
from keras_iwm.planning.action_energies import ActionEnergies, run_in_batches
from keras_iwm.planning.check_clips import check_actions, check_clips, check_dynamics
from keras_iwm.type_aliases import Array


class DynamicsEvaluator:
    """Measure on fixed clips how well a model tells what an action leads to.

    From the first `num_known` frames of each clip, the model

    - predicts all further frames under the clip's actions (`rollout_errors`), beside
      what one gets for nothing: the last known frame again, no action, and the actions
      of another clip;
    - predicts the next frame under a bank of actions, the true one and those of other
      clips. The true next frame's latents are compared with all predictions: the rank
      of the true action among them (`rank_actions`) says whether the model tells one
      action from another, and what planning can make of it. `rank_slot` does so for
      one slot, the others as they were.

    Distances are mean absolute differences of normalised latents. Everything depends
    on the seed and the clips alone, and is the same on all backends. Weights and seeds
    of the model are not changed.

    Numbers of latents are a model's own: compare them with the same model's controls,
    and two models by ranks, or by errors as a share of the last frame's.

    Args:
        model: `LatentDynamicsModel` without states.
        frames: Array of shape `(num_clips, num_frames, height, width, channels)` in
            the model's `value_range`, best held out, of at least 2 clips.
        actions: Array of shape `(num_clips, num_frames - 1, action_dim)`, each slot
            within [-1, 1].
        num_known: Positive integer less than `num_frames`.
        bank_size: Integer, at least 2, the actions of a bank. Where the clips have
            fewer that differ, all are taken.
        batch_size: Positive integer, the clips that are measured at once: lower it if
            memory runs out. It does not change the result.
        seed: Integer, 0 or more, of the draw of the banks.

    Raises:
        ValueError: If the model is none of dynamics, or clips and actions do not fit
            it, or each other.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 3, 64, 64, 3), "uint8")
    actions = random.uniform(-1, 1, (2, 2, 4))
    evaluator = keras_iwm.evaluation.DynamicsEvaluator(model, frames, actions)
    evaluator.rollout_errors()["model"].shape  # (2, 2)
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        frames: Array,
        actions: Array,
        num_known: int = 1,
        bank_size: int = 64,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        self.model = check_dynamics("model", model)
        self.frames = check_clips("frames", frames, model, 2)
        count, num_frames = self.frames.shape[:2]
        if count < 2:
            raise ValueError(
                "`frames` must be at least 2 clips: a clip's action is compared with "
                f"those of others. Received: {count}."
            )
        shape = (count, num_frames - 1, model.action_dim)
        self.actions = check_actions("actions", actions, shape)
        self.num_known = as_count("num_known", num_known, 1, num_frames - 1)
        self.bank_size = as_count("bank_size", bank_size, 2)
        self.batch_size = as_count("batch_size", batch_size)
        self.seed = as_count("seed", seed, 0)
        self._errors = DynamicsErrors(model, self.num_known)
        self._energies = ActionEnergies(model)

    @property
    def slots(self) -> tuple[str, ...]:
        """Tuple of strings, the names of the action's slots."""
        return tuple(self.model.slots)

    @property
    def taken(self) -> np.ndarray:
        """The actions that lead to the first unknown frames, `(clips, action_dim)`."""
        return self.actions[:, self.num_known - 1]

    def rollout_errors(self) -> dict[str, np.ndarray]:
        """Measure the predictions of all further frames, and the controls.

        Returns:
            Dictionary of NumPy arrays of shape `(num_clips, horizon)`, mean absolute
            differences of latents: `model`; `copy_last_frame`, the last known frame for
            all that follow; `zero_action`, the model told that nothing happens;
            `shuffled_action`, the model told the actions of the next clip.
        """
        inputs = {
            "frames": self.frames,
            "actions": self.actions,
            "shuffled": np.roll(self.actions, -1, axis=0),
        }
        return run_in_batches(self._errors, inputs, self.batch_size)

    def rank_actions(self) -> dict[str, Any]:
        """Rank each clip's true action in a bank of those of other clips.

        Returns:
            Dictionary: `num_entries`, the size of a bank, the true action included;
            NumPy arrays of shape `(num_clips, 1)`, `ranks` and, as a control,
            `ranks_shuffled`, of the first of the other actions in the true one's place.
        """
        bank = self._bank(self.actions.reshape(-1, self.actions.shape[-1]), self.taken)
        energies = self.energies(bank[:, :, None])
        first, second = np.zeros(len(bank), "int32"), np.ones(len(bank), "int32")
        return {
            "num_entries": bank.shape[1],
            "ranks": _ranks(energies, first),
            "ranks_shuffled": _ranks(energies, second),
        }

    def rank_slot(self, slot: str) -> dict[str, Any]:
        """Rank the true value of one slot among those of other clips.

        Args:
            slot: String, one of `slots`.

        Returns:
            Dictionary: `num_entries`; NumPy arrays of shape `(num_clips, 1)`, `ranks`
            and `errors`, how far the value of the nearest prediction is off, or on
            average those of all that are equally near; and the float `error_chance`,
            how far a value at random is off on average.

        Raises:
            ValueError: If there is no such slot.
        """
        place = self.slot_place("slot", slot)
        values = self._bank(
            self.actions[..., place].reshape(-1, 1), self.taken[:, place, None]
        )[..., 0]
        candidates = np.repeat(self.taken[:, None], values.shape[1], axis=1)
        candidates[..., place] = values
        energies = self.energies(candidates[:, :, None])
        off = np.abs(values - values[:, :1])
        # The true value stands first: of a model that knows nothing of actions all are
        # equally near, as they are where predictions are not finite.
        nearest = ~(energies > energies.min(axis=1, keepdims=True) * (1.0 + TIE))
        return {
            "num_entries": values.shape[1],
            "ranks": _ranks(energies, np.zeros(len(values), "int32")),
            "errors": np.mean(off, axis=1, keepdims=True, where=nearest),
            "error_chance": float(off.mean()),
        }

    def energies(self, candidates: np.ndarray) -> np.ndarray:
        """Compare what actions lead to with the frames that came.

        Args:
            candidates: Float32 array `(num_clips, num_candidates, horizon,
                action_dim)`, taken from the last known frame on.

        Returns:
            Float32 NumPy array of shape `(num_clips, num_candidates)`, the mean
            absolute difference of the latents `horizon` frames later.
        """
        known = self.num_known
        inputs = {
            "frames": self.frames[:, :known],
            "goals": self.frames[:, known + candidates.shape[2] - 1],
            "past_actions": self.actions[:, : known - 1],
            "candidates": candidates,
        }
        return run_in_batches(self._energies, inputs, self.batch_size)

    def slot_place(self, name: str, slot: str) -> int:
        """Return the place of a slot in an action, or raise for the argument `name`."""
        if not isinstance(slot, str) or slot not in self.slots:
            raise ValueError(
                f"`{name}` must be of the model's slots {self.slots}. Received: "
                f"{slot!r}."
            )
        return self.slots.index(slot)

    def _bank(self, rows, taken):
        """The row that was taken and others, all different: `(clips, size, dim)`."""
        rows = np.unique(rows, axis=0)
        random = np.random.default_rng(self.seed)
        banks = []
        for row in taken:
            others = rows[(rows != row).any(axis=1)]
            chosen = random.permutation(len(others))[: self.bank_size - 1]
            banks.append(np.concatenate([row[None], others[chosen]]))
        return np.array(banks)


def _ranks(energies, wanted):
    """Rank of the wanted entry of each row, `(clips, 1)`."""
    return ops.convert_to_numpy(ranks_from_distances(energies, wanted))[:, None]
