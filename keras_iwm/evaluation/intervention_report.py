"""Whether a world model uses what probes find, in one dictionary."""

from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_object
from keras_iwm.evaluation.intervention_evaluator import INSIDE, InterventionEvaluator
from keras_iwm.evaluation.interventions import measure_image
from keras_iwm.evaluation.photo_jackknife import sums_by_photo
from keras_iwm.evaluation.summarize_interventions import (
    summarize_curves,
    summarize_errors,
    summarize_scores,
)
from keras_iwm.evaluation.without_nan import without_nan
from keras_iwm.metrics.ranks import reciprocal_rank_chance


def intervention_report(
    evaluator: InterventionEvaluator, control: InterventionEvaluator | None = None
) -> dict[str, Any]:
    """Measure whether a direction in latents causes what it seems to stand for.

    See `InterventionEvaluator` for what is done. Images of one photo are not
    independent of each other, so all 95 % intervals are over photos: each is left out
    in turn (jackknife), with Student's t.

    Args:
        evaluator: `InterventionEvaluator`.
        control: Optional `InterventionEvaluator` of another model on the same images,
            such as one whose predictor was trained on a frozen random encoder. What an
            untrained encoder does as well is no merit of the trained one.

    Returns:
        Dictionary of dictionaries of strings and numbers, ready for `json.dump`. What
        is measured is a dictionary of `value` and its interval from `low` to `high`,
        for each slot and, as `mean`, on average.

        - `settings`: `slots`, `layers`, `num_images`, `num_photos`,
          `num_train_images`, `num_pairs`, `places`, and `interval` in words.
        - `probes`: for each layer of the encoder and each slot R2 of a ridge regression
          that reads the slot from a change of latents (`value`, 1 at best), R2 with
          `permuted` amounts and of an `untrained` encoder, and the `selectivity`, what
          R2 has more than with permuted ones.
        - `inside` and `outside`, for places within a slot's range, and for 1.5 and 2
          times as much: for each way to change a prediction `slope`, `diagonal_share`
          (of all that is recovered, what is the moved slot), `explained` (the part of
          the predicted change that real changes make up), `cosine_with_told` and
          `mrr`, among the image under all slots and places; for moved contexts also
          `off_manifold`, the distance to the nearest real context over the length of
          the real change; and `matrix`, from each moved to each recovered slot. The
          ways: `told` the action; `seen`, from the changed image; `moved` along the
          direction of change; and as far along `probe_weights`, `other_slot`'s
          direction, that of the `untrained_encoder`, one of `permuted_amounts`, and a
          `random` one.
        - `curves`: for `told`, `seen` and `moved` and each slot, what is recovered at
          each of the places, in units of the place.
        - `layers`: for each layer before the context `slope` and `diagonal_share` of
          moves behind it `alone`, and behind it and all later ones, `onwards`.
        - `erased`: from `nothing`, each slot's direction and a `random` one, taken out
          of the context of changed images, to `slope` and `mrr`: what is left of each
          slot.
        - `mrr_chance` and `mrr_chance_inside`, among fewer places, as in `erased`.
        - `control`, with `control`: the same of it.

    Raises:
        ValueError: If something else is given, or the control has other slots.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.InterventionEvaluator(
        model, images[:4], images[4:], num_pairs=32
    )
    report = keras_iwm.evaluation.intervention_report(evaluator)
    report["inside"]["moved"]["hue"]["slope"]["value"]
    ```
    """
    needed = ("look", "slots", "places", "images_of")
    as_object("evaluator", evaluator, needed, "an InterventionEvaluator")
    if control is not None:
        as_object("control", control, needed, "an InterventionEvaluator")
        if control.slots != evaluator.slots:
            raise ValueError(
                f"`control` must have the slots {evaluator.slots}. Received: "
                f"{control.slots}."
            )
    report = _measure(evaluator)
    if control is not None:
        report["control"] = _measure(control)
    return without_nan(report)


def _measure(evaluator):
    """The report of one model."""
    count = len(evaluator.changes)
    progress = tqdm(range(count), "Interventions", disable=not evaluator.verbose)
    measured = [measure_image(evaluator, index) for index in progress]
    sums = keras.tree.map_structure(
        lambda *parts: sums_by_photo(np.stack(parts), evaluator.photo_ids), *measured
    )
    slots, places = evaluator.slots, evaluator.places
    inside = np.isin(places, INSIDE)
    conditions = sums["conditions"]
    every = np.ones(len(INSIDE), bool)
    return {
        "settings": {
            "slots": list(slots),
            "layers": list(evaluator.layers),
            "num_images": count,
            "num_photos": evaluator.num_photos,
            "num_train_images": evaluator.num_train_images,
            "num_pairs": evaluator.num_pairs,
            "places": places.tolist(),
            "interval": "95 %, jackknife over photos with Student's t",
        },
        "probes": summarize_errors(sums["errors"], slots, evaluator.layers),
        **{
            name: {
                way: summarize_scores(part, slots, chosen)
                for way, part in conditions.items()
            }
            for name, chosen in (("inside", inside), ("outside", ~inside))
        },
        "curves": {
            way: summarize_curves(conditions[way], slots, places)
            for way in ("told", "seen", "moved")
        },
        "layers": {
            layer: {
                words: summarize_scores(part, slots, every, ("slope", "diagonal_share"))
                for words, part in ways.items()
            }
            for layer, ways in sums["layers"].items()
        },
        "erased": {
            name: summarize_scores(part, slots, every, ("slope", "mrr"))
            for name, part in sums["erased"].items()
        },
        "mrr_chance": reciprocal_rank_chance(1 + len(slots) * len(places)),
        "mrr_chance_inside": reciprocal_rank_chance(1 + len(slots) * len(INSIDE)),
    }
