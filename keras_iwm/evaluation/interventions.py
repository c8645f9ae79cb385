"""What an evaluator's interventions do to the predictions for one image."""

import numpy as np
from keras import ops

from keras_iwm.evaluation.compared_latents import bank_of, distances_to, unit
from keras_iwm.evaluation.intervention_evaluator import INSIDE, SEED
from keras_iwm.evaluation.recovered_changes import inner_products
from keras_iwm.metrics.ranks import ranks_from_distances


def measure_image(evaluator, index):
    """Change the predictions for an image in all ways.

    Args:
        evaluator: `InterventionEvaluator`.
        index: Integer, which of its images.

    Returns:
        Nested dictionary of arrays, to be summed over images: `errors`, of probes,
        `(num_layers + 2, num_slots)` each; `conditions`, `layers` and `erased`, from a
        way to change a prediction to scores `(num_slots, num_places, ...)`, for
        which see `_scores`. The last two are of places inside the range.
    """
    found = evaluator.look(index)
    inside = np.isin(evaluator.places, INSIDE)
    found_inside = {
        name: array[:, inside] if array.ndim == 4 else array
        for name, array in found.items()
    }
    return {
        "errors": _probe_errors(evaluator, found_inside),
        "conditions": _conditions(evaluator, found),
        "layers": _layers(evaluator, found_inside, index),
        "erased": _erased(evaluator, found_inside),
    }


def _probe_errors(evaluator, found):
    """Mean squared errors of each kind of probe."""
    inside = np.isin(evaluator.places, INSIDE)
    amounts = evaluator.amounts[:, inside]
    # Only one slot changes in each of the entries.
    wanted = np.einsum("sk,sj->skj", amounts, np.eye(len(amounts)))
    wanted = wanted.reshape(-1, len(amounts))
    errors = {"variance": np.mean(np.square(wanted), axis=0)}
    for name in ("trained", "permuted", "untrained"):
        changes = found["untrained_means" if name == "untrained" else "means"]
        changes = changes.reshape(-1, *changes.shape[2:])
        errors[name] = evaluator.probes[name].squared_errors(changes, wanted)
    return errors


def _scores(found, predictions, unchanged):
    """Scores of changed predictions.

    Returns:
        Dictionary of `inner_products`; `reciprocal_ranks`, `(num_slots, num_places)`,
        of the image under the slot at the place, among it under all slots and places;
        and `counts`, 1 for each of them, or 0 where a slot has no such value.
    """
    real = found["targets"] - found["target"]
    told = found["told"] - found["null_told"]
    parts = (predictions - unchanged, real, told)
    products = inner_products(
        *(part.reshape(*part.shape[:2], -1).astype("float64") for part in parts)
    )
    flat = predictions.reshape(-1, *predictions.shape[2:])
    distances = distances_to(bank_of(found), flat)
    ranks = ranks_from_distances(distances, 1 + np.arange(len(flat)))
    ranks = ops.convert_to_numpy(ranks).reshape(predictions.shape[:2])
    counts = np.any(real != 0, axis=(2, 3))
    return {**products, "reciprocal_ranks": counts / ranks, "counts": counts}


def _conditions(evaluator, found):
    """Scores of what is told and seen, and of the context moved in each way."""
    moves = {"moved": evaluator.moves_by_layer[-1], **evaluator.controls}
    conditions = {
        "told": _scores(found, found["told"], found["null_told"]),
        "seen": _scores(found, found["seen"], found["null_seen"]),
    }
    real = np.concatenate(
        [found["context"][None], found["contexts"].reshape(-1, *found["context"].shape)]
    )
    steps = np.square(found["contexts"] - found["context"]).sum(axis=(2, 3))
    for name, move in moves.items():
        contexts = evaluator.moved(found["context"], move)
        predictions = evaluator.predict(contexts)
        nearest = distances_to(real, contexts.reshape(-1, *contexts.shape[2:])).min(1)
        conditions[name] = {
            **_scores(found, predictions, found["null_told"]),
            "off": np.square(nearest).reshape(steps.shape),
            "steps": steps,
        }
    return conditions


def _layers(evaluator, found, index):
    """Scores of moves behind each layer alone, and behind all from it on."""
    inside = np.isin(evaluator.places, INSIDE)
    steps = (
        evaluator.amounts[:, inside, None, None]
        * np.swapaxes(evaluator.moves_by_layer, 0, 1)[:, None]
    )
    shape = found["told"].shape
    steps = steps.reshape(-1, *steps.shape[2:])
    images = np.stack([evaluator.changes.starts(index)] * len(steps))
    number = np.arange(len(evaluator.layers))
    scores = {}
    for layer, name in enumerate(evaluator.layers[:-1]):
        scores[name] = {}
        for words, chosen in (("alone", number == layer), ("onwards", number >= layer)):
            contexts = evaluator.parts.move(images, steps * chosen[:, None])
            predictions = evaluator.predict(contexts.reshape(shape))
            scores[name][words] = _scores(found, predictions, found["null_told"])
    return scores


def _erased(evaluator, found):
    """Scores of what is seen after a direction was taken out of the context."""
    own = unit(evaluator.moves_by_layer[-1])
    random = unit(np.random.default_rng(SEED).normal(size=own.shape[1]))
    middle = evaluator.probes["middle"]
    scores = {"nothing": _scores(found, found["seen"], found["null_seen"])}
    for name, direction in zip(
        (*evaluator.slots, "random"), (*own, random), strict=True
    ):

        def erase(contexts, direction=direction):
            along = (contexts - middle) @ direction
            return (contexts - along[..., None] * direction).astype("float32")

        predictions = evaluator.predict(erase(found["contexts"]))
        unchanged = evaluator.predict(erase(found["context"]))
        scores[name] = _scores(found, predictions, unchanged)
    return scores
