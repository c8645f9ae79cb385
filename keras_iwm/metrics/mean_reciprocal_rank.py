"""Mean reciprocal rank of predictions in a bank."""

from typing import Any

import keras

from keras_iwm.metrics.ranks import retrieval_ranks
from keras_iwm.type_aliases import Array, DType


@keras.saving.register_keras_serializable(package="keras_iwm")
class MeanReciprocalRank(keras.metrics.Mean):
    """Mean over predictions of one over the rank of the wanted bank entry.

    Prediction `i` wants entry `i` of the bank. The bank is sorted by L2 distance
    to the prediction, and the metric is the mean of `1 / rank`: 1.0 for a world
    model that applies every action, `reciprocal_rank_chance(num_entries)` (0.0239
    for 256 entries) for one that ignores the action. Ties take the middle rank.
    Update it once for each image, with that image's bank;
    `keras_iwm.evaluation.evaluate_world_model` does the whole measurement.

    Source: image world models, arXiv 2403.00504. The exact definition (direct
    differences in float32, middle ranks) is this library's.

    Args:
        name: String, the metric's name.
        dtype: The dtype of the accumulators, float32 unless told otherwise.

    Call arguments of `update_state`:
        bank: Tensor of shape `(num_entries, ...)`, the true latents.
        predictions: Tensor of shape `(num_queries, ...)` with
            `num_queries <= num_entries`; prediction `i` wants bank entry `i`.
        sample_weight: Optional tensor of shape `(num_queries,)`.

    Example:

    ```python
    metric = keras_iwm.metrics.MeanReciprocalRank()
    bank = keras.random.normal((256, 32))
    metric.update_state(bank, bank)
    metric.result()  # 1.0
    ```
    """

    def __init__(
        self, name: str = "mean_reciprocal_rank", dtype: DType | None = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, bank: Array, predictions: Array, sample_weight: Any = None
    ) -> None:
        """Add the reciprocal ranks of one image's predictions in its bank."""
        ranks = retrieval_ranks(predictions, bank)
        return super().update_state(1.0 / ranks, sample_weight=sample_weight)
