"""Ranks of wanted entries in a bank, by distance to a prediction."""

from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.array_arguments import as_tensor
from keras_iwm.backend import distances_between
from keras_iwm.type_aliases import Array, Tensor

# Distances this close to the wanted one, relatively, are called equal: float32
# sums of the same numbers in another order differ by about as much.
TIE = 1e-6
# Differences held at once: 8 MiB in float32, which stays in a CPU's cache.
_MAX_DIFFERENCES = 2**21


def retrieval_distances(predictions: Array, bank: Array) -> Tensor:
    """L2 distance of every prediction to every entry of a bank.

    The distance is the root of the summed squares of the differences, in
    float32. The expanded form (`a² - 2ab + b²`) is cheaper and loses the digits
    that tell near entries apart. Memory is bounded: few predictions are compared
    at a time.

    Args:
        predictions: Tensor of shape `(num_queries, ...)`; what follows the first
            axis is flattened.
        bank: Tensor of shape `(num_entries, ...)`, with as many values an entry.

    Returns:
        Float32 tensor of shape `(num_queries, num_entries)`.

    Raises:
        ValueError: If predictions and bank differ in their number of values.

    Example:

    ```python
    predictions = keras.random.normal((8, 16, 32))
    bank = keras.random.normal((256, 16, 32))
    distances = keras_iwm.metrics.retrieval_distances(predictions, bank)
    ```
    """
    predictions = as_tensor("predictions", predictions)
    bank = as_tensor("bank", bank)
    for name, tensor in (("predictions", predictions), ("bank", bank)):
        if tensor.shape[0] == 0:
            raise ValueError(f"`{name}` must hold at least one. Received: none.")
    if predictions.shape[1:] != bank.shape[1:]:
        raise ValueError(
            "`predictions` and `bank` must agree in all axes but the first. "
            f"Received shapes {tuple(predictions.shape)} and {tuple(bank.shape)}. "
            "Embed both with the same encoder, at the same positions."
        )
    num_values = 1
    for size in bank.shape[1:]:
        num_values *= size
    bank = ops.reshape(bank, (-1, num_values))
    chunk = _queries_at_once(predictions.shape[0], bank.shape[0], num_values)

    chunks = ops.reshape(predictions, (-1, chunk, num_values))
    distances = ops.map(lambda queries: distances_between(queries, bank), chunks)
    return ops.reshape(distances, (-1, ops.shape(bank)[0]))


def ranks_from_distances(distances: Array, wanted: Array | None = None) -> Tensor:
    """Rank of the wanted entry of each row of distances, ties at the middle.

    Entries whose distance is within a relative 1e-6 of the wanted one's are tied
    with it, and the wanted entry takes the middle rank of the tied ones:
    `1 + closer + tied_others / 2`. A collapsed model, all of whose entries tie,
    thus has the rank `(num_entries + 1) / 2` and not an optimistic 1; so has a
    prediction of NaN.

    Args:
        distances: Tensor of shape `(num_queries, num_entries)`.
        wanted: Integers of shape `(num_queries,)`, the entry that each query
            should be nearest to. Defaults to entry `i` for query `i`.

    Returns:
        Float32 tensor of shape `(num_queries,)` of ranks from 1 to `num_entries`,
        which may be half-integers.

    Example:

    ```python
    ranks = keras_iwm.metrics.ranks_from_distances([[0.1, 0.4], [0.2, 0.3]])
    # [1.0, 2.0]
    ```
    """
    distances = as_tensor("distances", distances, num_axes=2)
    num_queries, num_entries = ops.shape(distances)
    if wanted is None:
        wanted = ops.arange(num_queries, dtype="int32")
    wanted = as_tensor("wanted", wanted, "int32", num_axes=1)
    if None not in (wanted.shape[0], distances.shape[0]) and (
        wanted.shape[0] != distances.shape[0]
    ):
        raise ValueError(
            f"`wanted` must hold one entry for each of the {distances.shape[0]} rows "
            f"of `distances`. Received: {wanted.shape[0]}."
        )
    of_wanted = ops.take_along_axis(distances, ops.expand_dims(wanted, 1), axis=1)
    closer = ops.cast(distances < of_wanted * (1.0 - TIE), "float32")
    farther = ops.cast(distances > of_wanted * (1.0 + TIE), "float32")
    # The same as 1 + closer + tied_others / 2, with
    # tied_others = num_entries - 1 - closer - farther.
    balance = ops.sum(closer - farther, axis=1)
    return (ops.cast(num_entries, "float32") + 1.0 + balance) / 2.0


def retrieval_ranks(
    predictions: Array, bank: Array, wanted: Array | None = None
) -> Tensor:
    """Rank of each prediction's wanted entry in a bank sorted by distance.

    The building block of `MeanReciprocalRank` and `HitRate`: L2 distances by
    direct difference in float32 (`retrieval_distances`), ties at the middle rank
    (`ranks_from_distances`). Compilable, in bounded memory.

    Args:
        predictions: Tensor of shape `(num_queries, ...)`; what follows the first
            axis is flattened.
        bank: Tensor of shape `(num_entries, ...)`.
        wanted: Integers of shape `(num_queries,)`, the wanted entry of each
            prediction. Defaults to entry `i` for prediction `i`.

    Returns:
        Float32 tensor of shape `(num_queries,)` of ranks from 1 (nearest) to
        `num_entries`; ties give half-integers.

    Raises:
        ValueError: If predictions and bank differ in their number of values.

    Example:

    ```python
    bank = keras.random.normal((256, 32))
    ranks = keras_iwm.metrics.retrieval_ranks(bank[3:5], bank, wanted=[3, 4])
    # [1.0, 1.0]
    ```
    """
    return ranks_from_distances(retrieval_distances(predictions, bank), wanted)


def reciprocal_rank_chance(num_entries: int) -> float:
    """Mean reciprocal rank of a random, or an action-blind, prediction.

    The expectation of `1 / rank` over a uniformly random rank, `H_n / n` with the
    harmonic number `H_n`. A model that ignores the action scores exactly this,
    since one sorted order then serves all queries.

    Args:
        num_entries: Positive integer, the number of entries of the bank.

    Returns:
        A float: 0.0239 for 256 entries, 0.0741 for 64, 0.1239 for 33.

    Raises:
        ValueError: If `num_entries` is not positive.

    Example:

    ```python
    keras_iwm.metrics.reciprocal_rank_chance(256)  # 0.0239
    ```
    """
    num_entries = as_count("num_entries", num_entries)
    return sum(1.0 / rank for rank in range(1, num_entries + 1)) / num_entries


def _queries_at_once(num_queries, num_entries, num_values):
    """Largest divisor of `num_queries` that keeps the differences few; else 1."""
    if num_queries is None or num_entries is None:
        return 1
    most = max(1, _MAX_DIFFERENCES // max(1, num_entries * num_values))
    return max(
        count
        for count in range(1, min(num_queries, most) + 1)
        if num_queries % count == 0
    )
