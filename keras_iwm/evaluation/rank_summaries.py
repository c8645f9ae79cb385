"""Means of ranks, with intervals for entries that belong to a few images."""

import numpy as np

from keras_iwm.metrics.ranks import reciprocal_rank_chance

HITS = (1, 5, 10)


def mean_reciprocal(ranks):
    """Mean of one over each rank."""
    return float(np.mean(1.0 / np.asarray(ranks, "float64")))


def clustered_mean(values):
    """Mean over images, with a 95 % interval clustered by image.

    The entries of one image are not independent of each other, so each image counts
    as one observation, the mean of its entries: the interval is 1.96 standard errors
    of these means to either side (normal approximation, which is a little narrow for
    fewer than about 20 images).

    Args:
        values: Array of shape `(num_images, num_entries)`, of at least 2 images.

    Returns:
        Dictionary of floats: `value`, `low` and `high`.
    """
    means = np.mean(np.asarray(values, "float64"), axis=1)
    margin = 1.96 * np.std(means, ddof=1) / np.sqrt(len(means))
    mean = np.mean(means)
    return {
        "value": float(mean),
        "low": float(mean - margin),
        "high": float(mean + margin),
    }


def summarize_ranks(ranks, num_entries):
    """Means of ranks with intervals and chance lines.

    Args:
        ranks: Array of shape `(num_images, num_queries)`.
        num_entries: Integer, how many entries were ranked.

    Returns:
        Dictionary of `num_entries` and, each a dictionary of `value`, `low`, `high`
        and `chance`, of `mrr`, `hit_at_1`, `hit_at_5`, `hit_at_10` and `mean_rank`.
    """
    ranks = np.asarray(ranks, "float64")
    summary = {
        "num_entries": num_entries,
        "mrr": {
            **clustered_mean(1.0 / ranks),
            "chance": reciprocal_rank_chance(num_entries),
        },
    }
    for k in HITS:
        summary[f"hit_at_{k}"] = {
            **clustered_mean(ranks <= k),
            "chance": min(k, num_entries) / num_entries,
        }
    summary["mean_rank"] = {
        **clustered_mean(ranks),
        "chance": (num_entries + 1) / 2,
    }
    return summary
