"""Share of predictions whose wanted entry is among the nearest of a bank."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.metrics.ranks import retrieval_ranks
from keras_iwm.type_aliases import Array, Config, DType


@keras.saving.register_keras_serializable(package="keras_iwm")
class HitRate(keras.metrics.Mean):
    """Share of predictions whose wanted bank entry ranks `k` or better.

    Prediction `i` wants entry `i` of the bank, as in `MeanReciprocalRank`, from
    whose ranks it is computed. Chance is `k / num_entries`. Ties take the middle
    rank, so a collapsed model has no hits rather than all of them.

    Args:
        k: Positive integer, the last rank that counts as a hit. Defaults to 1.
        name: String, the metric's name; `hit_at_<k>` when `None`.
        dtype: The dtype of the accumulators, float32 unless told otherwise.

    Call arguments of `update_state`:
        bank: Tensor of shape `(num_entries, ...)`, the true latents.
        predictions: Tensor of shape `(num_queries, ...)` with
            `num_queries <= num_entries`; prediction `i` wants bank entry `i`.
        sample_weight: Optional tensor of shape `(num_queries,)`.

    Raises:
        ValueError: If `k` is not positive.

    Example:

    ```python
    metric = keras_iwm.metrics.HitRate(k=5)
    bank = keras.random.normal((256, 32))
    metric.update_state(bank, bank)
    metric.result()  # 1.0
    ```
    """

    def __init__(
        self, k: int = 1, name: str | None = None, dtype: DType | None = None
    ) -> None:
        self.k = as_count("k", k)
        super().__init__(name=name or f"hit_at_{k}", dtype=dtype)

    def update_state(
        self, bank: Array, predictions: Array, sample_weight: Any = None
    ) -> None:
        """Add the hits of one image's predictions in its bank."""
        ranks = retrieval_ranks(predictions, bank)
        hits = ops.cast(ranks <= self.k, "float32")
        return super().update_state(hits, sample_weight=sample_weight)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {"k": self.k, **super().get_config()}
