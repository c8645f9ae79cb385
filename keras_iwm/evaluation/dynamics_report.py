"""Everything that is measured of a model of dynamics, in one dictionary."""

from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_count, as_object
from keras_iwm.array_arguments import as_array
from keras_iwm.evaluation.dynamics_evaluator import DynamicsEvaluator
from keras_iwm.evaluation.rank_summaries import clustered_mean, summarize_ranks
from keras_iwm.evaluation.untrained_copy import rebuilt
from keras_iwm.type_aliases import Array

# Bounds of the sizes of motion, in patches.
MOTIONS = (0.0, 0.25, 0.5, 1.0, float("inf"))


def dynamics_report(
    model: keras.Model,
    frames: Array,
    actions: Array,
    motions: Array | None = None,
    control: keras.Model | None = None,
    num_known: int = 1,
    bank_size: int = 64,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure whether a model of dynamics is any good, beside all controls.

    Two questions, see `DynamicsEvaluator`: how far off are the latents of frames to
    come, and does the model tell the action that was taken from others? A number alone
    says nothing, so each stands beside what is got for nothing: the last known frame
    again, no action, the actions of another clip, and all of it for an untrained model
    of the same shape. A predictor that was trained on a frozen *untrained encoder* is
    harder to beat, for such latents are easy to foretell: train one, and pass it as
    `control`.

    Errors of latents are each encoder's own. Compare models by ranks, and by
    `relative_error`.

    Args:
        model: `LatentDynamicsModel` without states.
        frames: Array of shape `(num_clips, num_frames, height, width, channels)` in
            the model's `value_range`, of at least 2 clips, best held out. 100 give
            intervals that tell models apart.
        actions: Array of shape `(num_clips, num_frames - 1, action_dim)`, each slot
            within [-1, 1].
        motions: Optional array of shape `(num_clips, num_frames - 1)`, how far the
            picture moves from each frame to the next, in patches. `camera_distance`
            tells it of moving photos.
        control: Optional `LatentDynamicsModel` for the same clips.
        num_known: Positive integer less than `num_frames`, the frames of a clip from
            which the others are predicted.
        bank_size: Integer, at least 2, the actions that are told apart.
        batch_size: Positive integer, the clips that are measured at once: lower it if
            memory runs out.
        seed: Integer, 0 or more, of the draw of the banks.

    Returns:
        Dictionary of dictionaries, lists, strings and numbers, ready for `json.dump`.
        `report_table` prints it. Each measured number is a dictionary of `value` and
        of the 95 % interval from `low` to `high`, clustered by clip; a rank's has
        `chance` too.

        - `settings`: `num_clips`, `num_known`, `horizon`, `bank_size`, `seed`, and in
          words what `interval` is.
        - `model`, `untrained` and, with it, `control`, each a dictionary of

            - `rollout`: `model`, `copy_last_frame`, `zero_action` and
              `shuffled_action`, each a list of numbers by horizon, 1 first;
            - `relative_error`: the model's error over that of the last known frame, a
              list by horizon; 1 is no better than that, and `None` stands where the
              latents do not change at all;
            - `actions`: from `true_action` and the control `shuffled_action` to
              `num_entries`, `mrr`, `hit_at_1`, `hit_at_5`, `hit_at_10` and
              `mean_rank`. A model that does not hear the action has the middle rank.
            - `motions`, with `motions`: the same of the true action, from the size of
              the motion in words to it, for sizes that at least 2 clips have;
            - `slots`: the same for each slot alone, with `parameter_error`, how far
              the value that fits best is off.

    Raises:
        ValueError: If a model is none of dynamics, or clips, actions and motions do
            not fit it, or each other.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 3, 64, 64, 3), "uint8")
    actions = random.uniform(-1, 1, (2, 2, 4))
    report = keras_iwm.evaluation.dynamics_report(model, frames, actions, bank_size=3)
    print(keras_iwm.evaluation.report_table(report))
    ```
    """
    seed = as_count("seed", seed, 0)
    settings = (num_known, bank_size, batch_size, seed)
    evaluator = DynamicsEvaluator(model, frames, actions, *settings)
    frames, actions = evaluator.frames, evaluator.actions
    if motions is not None:
        motions = _check_motions(motions, actions.shape[:2])[:, evaluator.num_known - 1]
    models = {"model": evaluator}
    if control is not None:
        as_object("control", control, ("slots",), "a LatentDynamicsModel")
        if tuple(control.slots) != evaluator.slots:
            raise ValueError(
                f"`control` must have the model's slots {evaluator.slots}. Received: "
                f"{tuple(control.slots)}."
            )
        models["control"] = DynamicsEvaluator(control, frames, actions, *settings)
    untrained = rebuilt(model, seed)
    models["untrained"] = DynamicsEvaluator(untrained, frames, actions, *settings)
    return {
        "settings": {
            "num_clips": len(frames),
            "num_known": evaluator.num_known,
            "horizon": frames.shape[1] - evaluator.num_known,
            "bank_size": evaluator.bank_size,
            "seed": seed,
            "interval": "95 %, 1.96 standard errors over clips",
        },
        **{name: _measure(one, motions) for name, one in models.items()},
    }


def _measure(evaluator, motions):
    """What one model makes of the clips."""
    errors = evaluator.rollout_errors()
    own, copied = errors["model"].mean(axis=0), errors["copy_last_frame"].mean(axis=0)
    ranked = evaluator.rank_actions()
    ranks, count = ranked["ranks"], ranked["num_entries"]
    found = {
        "rollout": {
            name: [clustered_mean(values[:, None]) for values in of_clips.T]
            for name, of_clips in errors.items()
        },
        "relative_error": [
            float(one / other) if other else None
            for one, other in zip(own, copied, strict=True)
        ],
        "actions": {
            "true_action": summarize_ranks(ranks, count),
            "shuffled_action": summarize_ranks(ranked["ranks_shuffled"], count),
        },
        "slots": {slot: _measure_slot(evaluator, slot) for slot in evaluator.slots},
    }
    if motions is not None:
        found["motions"] = {}
        for low, high in zip(MOTIONS[:-1], MOTIONS[1:], strict=True):
            inside = (low <= motions) & (motions < high)
            if inside.sum() >= 2:
                words = (
                    f"{low:g} to {high:g}" if high < MOTIONS[-1] else f"above {low:g}"
                )
                found["motions"][f"{words} patches"] = {
                    "num_clips": int(inside.sum()),
                    **summarize_ranks(ranks[inside], count),
                }
    return found


def _measure_slot(evaluator, slot):
    """How well one slot's value is told from others."""
    ranked = evaluator.rank_slot(slot)
    return {
        **summarize_ranks(ranked["ranks"], ranked["num_entries"]),
        "parameter_error": {
            **clustered_mean(ranked["errors"]),
            "chance": ranked["error_chance"],
        },
    }


def _check_motions(motions, shape):
    """Sizes of motions as an array of this shape, or what is wrong with them."""
    motions = as_array("motions", motions).astype("float64")
    if motions.shape != shape or not (np.isfinite(motions) & (motions >= 0)).all():
        raise ValueError(
            f"`motions` must be finite numbers of at least 0, of shape {shape}, one "
            f"from each frame to the next. Received: shape {motions.shape}."
        )
    return motions
