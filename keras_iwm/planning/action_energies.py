"""How far actions lead from a goal, and programs that run in batches."""

import keras
import numpy as np
from keras import ops

from keras_iwm.distribution.device_batches import even_batch, split_batch
from keras_iwm.layers.shared_program import SharedProgram


class ActionEnergies(SharedProgram):
    """Energies of given actions, from pixels, compiled once.

    It shares the dynamics model and owns no weights.

    Args:
        model: `LatentDynamicsModel`.
    """

    def __init__(self, model):
        super().__init__(model)
        self.model = model
        self.built = True

    def call(self, inputs):
        """Return energies `(clips, candidates)`, see `action_energies`.

        Args:
            inputs: Dictionary of `frames` `(clips, known, height, width, channels)`,
                `goals` `(clips, height, width, channels)`, `past_actions`
                `(clips, known - 1, action_dim)` and `candidates`
                `(clips, candidates, horizon, action_dim)`.
        """
        inputs = keras.tree.map_structure(split_batch, inputs)
        return action_energies(
            self.model,
            self.model.encode(inputs["frames"]),
            inputs["past_actions"],
            inputs["candidates"],
            self.model.encode(inputs["goals"][:, None]),
        )


def action_energies(model, known, past_actions, candidates, goals):
    """How far each row of actions leads from a goal, as the model expects it.

    Args:
        model: `LatentDynamicsModel`.
        known: Tensor `(clips, known, num_patches, hidden_dim)`, latents to start from.
        past_actions: Tensor `(clips, known - 1, action_dim)`.
        candidates: Tensor `(clips, candidates, horizon, action_dim)`.
        goals: Tensor `(clips, 1, num_patches, hidden_dim)`.

    Returns:
        Tensor `(clips, candidates)`, mean absolute differences.
    """
    # TensorFlow may not know how many clips there are.
    count, horizon, action_dim = candidates.shape[1:]
    actions = ops.reshape(candidates, (-1, horizon, action_dim))
    past_actions = ops.repeat(past_actions, count, axis=0)
    actions = ops.concatenate([past_actions, actions], axis=1)
    ends = model.rollout(ops.repeat(known, count, axis=0), actions)[:, -1]
    ends = ops.reshape(ends, (-1, count, *ends.shape[1:]))
    return ops.mean(ops.abs(ends - goals), axis=(2, 3))


def run_in_batches(program, inputs, batch_size):
    """Run a compiled program over rows, a few at a time.

    The last batch is filled up with the first rows: one shape, one program.

    Args:
        program: Keras model.
        inputs: Dictionary of arrays with as many rows each.
        batch_size: Integer, the most rows at once.

    Returns:
        What the program returns, as NumPy arrays with as many rows.
    """
    count = len(next(iter(inputs.values())))
    size = even_batch(min(batch_size, count))
    found = []
    for start in range(0, count, size):
        places = np.arange(start, start + size) % count
        batch = {name: rows[places] for name, rows in inputs.items()}
        found.append(program.predict_on_batch(batch))
    return keras.tree.map_structure(
        lambda *parts: np.concatenate([np.asarray(part) for part in parts])[:count],
        *found,
    )
