"""The images whose features are most alike."""

import numpy as np

from keras_iwm.arguments import as_count
from keras_iwm.array_arguments import check_features
from keras_iwm.type_aliases import Array

_NUM_QUERIES = 1024  # At a time,
_NUM_FEATURES = 16_384  # among so many.


def nearest_neighbors(
    features: Array, queries: Array | None = None, k: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the rows that are most alike, by cosine similarity.

    The search is exact. A part of the features at a time is looked at, so they may be
    a memory map of a file that does not fit into memory, as `load_embeddings` gives.

    Args:
        features: Array or tensor of shape `(num_features, hidden_dim)`, of finite
            numbers. A row of zeros is like no other one: its similarity is 0.
        queries: Array or tensor of shape `(num_queries, hidden_dim)`. If `None`, the
            neighbours of each row of `features` among the others.
        k: Positive integer, the number of neighbours, of which there must be enough.

    Returns:
        Tuple `(indices, similarities)` of NumPy arrays of shape `(num_queries, k)`:
        int64 rows of `features`, the most alike first, and float64 numbers from -1 to
        1. Of rows that are as much alike the first comes first.

    Raises:
        ValueError: If shapes do not fit, a number is not finite or there are fewer
            than `k` neighbours.

    Example:

    ```python
    features = np.random.default_rng(0).normal(size=(40, 8))
    indices, similarities = keras_iwm.evaluation.nearest_neighbors(
        features, queries=features[:2], k=3
    )
    indices[:, 0]  # [0, 1]: each is its own nearest
    ```
    """
    features = check_features(features)
    others = queries is None
    queries = features if others else check_features(queries, "queries")
    if features.shape[1] != queries.shape[1]:
        raise ValueError(
            "`features` and `queries` must have as many columns. Received: "
            f"{features.shape[1]} and {queries.shape[1]}."
        )
    k = as_count("k", k, 1, len(features) - others)  # neighbours that there are
    indices = np.empty((len(queries), k), "int64")
    similarities = np.empty((len(queries), k))
    for start in range(0, len(queries), _NUM_QUERIES):
        rows = slice(start, start + _NUM_QUERIES)
        own = np.arange(len(queries))[rows] if others else None
        part = _unit_length("queries", queries[rows])
        indices[rows], similarities[rows] = _nearest(features, part, own, k)
    return indices, similarities


def _nearest(features, queries, own, k):
    """Neighbours of a part of the queries, which are not to find the rows `own`."""
    indices = np.empty((len(queries), 0), "int64")
    similarities = np.empty((len(queries), 0))
    for start in range(0, len(features), _NUM_FEATURES):
        part = _unit_length("features", features[start : start + _NUM_FEATURES])
        found = queries @ part.T
        if own is not None:
            inside = np.flatnonzero((own >= start) & (own < start + len(part)))
            found[inside, own[inside] - start] = -np.inf
        columns, found = _candidates(found, similarities, k)
        # What was found before stands in front, so of equals the first rows stay.
        found = np.concatenate([similarities, found], axis=1)
        rows = np.concatenate([indices, start + columns], axis=1)
        nearest = np.argsort(-found, axis=1, kind="stable")[:, :k]
        indices = np.take_along_axis(rows, nearest, axis=1)
        similarities = np.take_along_axis(found, nearest, axis=1)
    return indices, similarities


def _candidates(found, known, k):
    """The columns of `found` that can be among the `k` largest, and their values.

    To sort all of them would take longer than to compute them. Rows with fewer than
    others are filled up with minus infinity.
    """
    if known.shape[1] == k:
        possible = found > known[:, -1:]  # Of equals the earlier ones stay.
    elif found.shape[1] > k:
        possible = found >= np.partition(found, -k, axis=1)[:, -k][:, None]
    else:
        possible = np.ones(found.shape, "bool")
    rows, columns = np.nonzero(possible)
    counts = np.bincount(rows, minlength=len(found))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(found), counts.max())
    chosen, values = np.zeros(shape, "int64"), np.full(shape, -np.inf)
    chosen[rows, places] = columns
    values[rows, places] = found[rows, columns]
    return chosen, values


def _unit_length(name, features):
    """Rows divided by their length, in float64; rows of zeros stay."""
    features = features.astype("float64")
    if not np.isfinite(features).all():
        raise ValueError(
            f"`{name}` must hold finite numbers. Received NaN or infinity. Leave these "
            "images out; if all are so, training has diverged."
        )
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length == 0, 1.0, length)
