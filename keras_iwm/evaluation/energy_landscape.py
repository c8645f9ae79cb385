"""How a model judges all values of two slots."""

from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_names, as_object
from keras_iwm.evaluation.dynamics_evaluator import DynamicsEvaluator
from keras_iwm.type_aliases import Names


def energy_landscape(
    evaluator: DynamicsEvaluator, slots: Names | None = None, num_values: int = 21
) -> dict[str, Any]:
    """Compare the next frame with predictions over the whole range of two slots.

    For each clip the last known frame is led on under all values of two slots, the
    others as they were. The mean absolute difference between prediction and the true
    next frame is the *energy*. Of a good model it is lowest at the true action and
    rises all around it: planning finds its way down. `plot_energy_landscape` draws it.

    Source: V-JEPA 2-AC, arXiv 2506.09985, for the picture.

    Args:
        evaluator: `DynamicsEvaluator` of the model and the clips.
        slots: Two of the model's slots, `(down, across)`. Defaults to the first two.
        num_values: Integer from 2 to 255, how many values of each, from -1 to 1.

    Returns:
        Dictionary: `slots`, a tuple of both names; `values`, float32
        `(num_values,)`; `energies`, float32 `(num_clips, num_values, num_values)`,
        the first slot down and the second across; `taken`, float32 `(num_clips, 2)`,
        the true values; `lowest`, the same of the lowest energy.

    Raises:
        ValueError: If there are no such slots.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 2, 64, 64, 3), "uint8")
    actions = random.uniform(-1, 1, (2, 1, 4))
    evaluator = keras_iwm.evaluation.DynamicsEvaluator(model, frames, actions)
    landscape = keras_iwm.evaluation.energy_landscape(evaluator, num_values=3)
    landscape["energies"].shape  # (2, 3, 3)
    ```
    """
    needed = ("energies", "slot_place", "taken", "slots")
    as_object("evaluator", evaluator, needed, "a DynamicsEvaluator")
    num_values = as_count("num_values", num_values, 2, 255)
    slots = evaluator.slots[:2] if slots is None else as_names("slots", slots)
    if len(set(slots)) != 2 or len(slots) != 2:
        raise ValueError(
            f"`slots` must be two of the model's slots {evaluator.slots}. Received: "
            f"{slots!r}."
        )
    places = [evaluator.slot_place("slots", slot) for slot in slots]
    values = np.linspace(-1, 1, num_values, dtype="float32")
    grid = np.stack(np.meshgrid(values, values, indexing="ij"), axis=-1).reshape(-1, 2)
    candidates = np.repeat(evaluator.taken[:, None], len(grid), axis=1)
    candidates[..., places] = grid
    energies = evaluator.energies(candidates[:, :, None])
    return {
        "slots": tuple(slots),
        "values": values,
        "energies": energies.reshape(-1, num_values, num_values),
        "taken": evaluator.taken[:, places],
        "lowest": grid[energies.argmin(axis=1)],
    }
