"""Scores of interventions, summed by photo, as numbers with intervals."""

import numpy as np

from keras_iwm.evaluation.photo_jackknife import jackknife
from keras_iwm.evaluation.recovered_changes import (
    diagonal_share,
    explained_share,
    slope_matrix,
)


def summarize_scores(sums, slots, chosen, names=None):
    """Numbers of one way to change predictions.

    Args:
        sums: Dictionary of arrays as `measure_image` makes them, summed by photo.
        slots: Tuple of strings.
        chosen: Boolean array `(num_places,)`, the places to look at.
        names: Optional tuple of strings, the numbers that are wanted; by default all,
            and the matrix.

    Returns:
        Dictionary from each slot, and `mean`, to a dictionary from each number's name
        to `value`, `low` and `high`; and `matrix`.
    """
    gram = sums["gram"][:, chosen].sum(axis=1)
    parts = {
        name: array[:, :, chosen].sum(axis=2)
        for name, array in sums.items()
        if name != "gram"
    }
    products = parts["products"]
    made = {
        "slope": (_slopes, gram, products),
        "diagonal_share": (_share, gram, products),
        "explained": (explained_share, gram, products, parts["squares"]),
        "cosine_with_told": (
            *(_cosine, parts["with_told"], parts["squares"], parts["told_squares"]),
        ),
        "mrr": (_ratio, parts["reciprocal_ranks"], parts["counts"]),
    }
    if "off" in parts:
        made["off_manifold"] = (_root_ratio, parts["off"], parts["steps"])
    summary = {slot: {} for slot in (*slots, "mean")}
    for name, (statistic, *arrays) in made.items():
        if names is None or name in names:
            found = jackknife(_with_mean(statistic), arrays)
            for index, slot in enumerate(summary):
                summary[slot][name] = _numbers(found, index)
    if names is None:
        found = jackknife(slope_matrix, (gram, products))
        summary["matrix"] = {
            moved: {
                recovered: _numbers(found, (row, column))
                for column, recovered in enumerate(slots)
            }
            for row, moved in enumerate(slots)
        }
    return summary


def summarize_curves(sums, slots, places):
    """What is recovered of each slot at each of the places.

    Returns:
        Dictionary from each slot to a list of `value`, `low` and `high`, in units of
        the place.
    """
    curves = {slot: [] for slot in slots}
    for index, place in enumerate(places):
        arrays = sums["gram"][:, index], sums["products"][:, :, index]
        found = jackknife(_slopes, arrays)
        for row, slot in enumerate(slots):
            numbers = _numbers(found, row)
            curves[slot].append({n: place * value for n, value in numbers.items()})
    return curves


def summarize_errors(errors, slots, layers):
    """R2 of probes, for each layer and slot.

    Args:
        errors: Dictionary of arrays summed by photo: `variance`, `(num_photos,
            num_slots)`, and squared errors `(num_photos, num_layers, num_slots)`.

    Returns:
        Dictionary from each layer to one from each slot, and `mean`, to `value`, `low`
        and `high`, and to dictionaries of them, `permuted`, `untrained` and
        `selectivity`.
    """
    summary = {}
    for index, layer in enumerate(layers):
        own, permuted, untrained = (
            errors[name][:, index] for name in ("trained", "permuted", "untrained")
        )
        found = {
            "value": jackknife(_with_mean(_r2), (own, errors["variance"])),
            "permuted": jackknife(_with_mean(_r2), (permuted, errors["variance"])),
            "untrained": jackknife(_with_mean(_r2), (untrained, errors["variance"])),
            "selectivity": jackknife(
                _with_mean(_ratio), (permuted - own, errors["variance"])
            ),
        }
        summary[layer] = {
            slot: {
                **_numbers(found["value"], row),
                **{
                    name: _numbers(found[name], row)
                    for name in ("permuted", "untrained", "selectivity")
                },
            }
            for row, slot in enumerate((*slots, "mean"))
        }
    return summary


def _slopes(gram, products):
    """Each slot's own slope."""
    return np.diag(slope_matrix(gram, products))


def _share(gram, products):
    """Diagonal share of the slopes."""
    return diagonal_share(slope_matrix(gram, products))


def _ratio(one, other):
    """One over the other, 0 where there is nothing."""
    return one / np.where(other > 0, other, 1.0)


def _root_ratio(one, other):
    """The root of one over the other."""
    return np.sqrt(_ratio(one, other))


def _cosine(products, squares, other_squares):
    """Cosine of two changes, over all places and images."""
    return _ratio(products, np.sqrt(squares * other_squares))


def _r2(errors, variance):
    """Share of the variance that is explained."""
    return 1.0 - _ratio(errors, variance)


def _with_mean(statistic):
    """The statistic of all slots, and the mean of them."""

    def of_slots(*arrays):
        values = statistic(*arrays)
        return np.append(values, values.mean())

    return of_slots


def _numbers(found, place):
    """The value and the interval of one place of arrays."""
    return {name: float(array[place]) for name, array in found.items()}
