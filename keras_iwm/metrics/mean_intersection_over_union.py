"""Mean intersection over union of segmentations."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_label
from keras_iwm.type_aliases import Array, Config, DType, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class MeanIntersectionOverUnion(keras.metrics.Metric):
    """Mean over classes of the pixels on which truth and prediction agree.

    For each class, the pixels that both mark with it are divided by those that either
    does; the mean is over the classes that occur in either. Counts are added up over
    all batches first. It is `jaccard_score(..., average="macro")` of scikit-learn, and
    `keras.metrics.MeanIoU`, whose counting is a Python loop over pixels on Torch.

    Args:
        num_classes: Integer, number of classes.
        ignore_label: Optional integer, the label of pixels that do not count.
        name: String, the metric's name.
        dtype: The dtype of the counts, float32 unless told otherwise.

    Call arguments of `update_state`:
        masks: Integers `(batch_size, height, width)`, the true classes. Pixels whose
            label is no class do not count either.
        logits: Tensor of shape `(batch_size, height, width, num_classes)`.
        sample_weight: Optional tensor of the masks' shape.

    Example:

    ```python
    metric = keras_iwm.metrics.MeanIntersectionOverUnion(num_classes=3, ignore_label=9)
    masks = np.array([[[0, 0, 1, 9]]])
    metric.update_state(masks, keras.ops.one_hot([[[0, 1, 1, 2]]], 3))
    metric.result()  # 0.5
    metric.per_class()  # [0.5, 0.5, nan]
    ```
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int | None = None,
        name: str = "mean_iou",
        dtype: DType = "float32",
    ) -> None:
        self.num_classes = as_count("num_classes", num_classes, 2)
        self.ignore_label = as_label("ignore_label", ignore_label)
        super().__init__(name=name, dtype=dtype)
        self.counts = self.add_variable(
            (self.num_classes, self.num_classes), initializer="zeros", name="counts"
        )

    def update_state(
        self, masks: Array, logits: Array, sample_weight: Any = None
    ) -> None:
        """Add the pixels of a batch."""
        truth = ops.cast(ops.convert_to_tensor(masks), "int32")
        prediction = ops.cast(ops.argmax(logits, axis=-1), "int32")
        counted = ops.logical_and(truth >= 0, truth < self.num_classes)
        if self.ignore_label is not None:
            counted = ops.logical_and(counted, truth != self.ignore_label)
        weight = ops.cast(counted, self.dtype)
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, self.dtype)
        cell = ops.where(counted, truth * self.num_classes + prediction, 0)
        counts = ops.segment_sum(
            ops.reshape(weight, (-1,)),
            ops.reshape(cell, (-1,)),
            num_segments=self.num_classes**2,
        )
        self.counts.assign_add(ops.reshape(counts, self.counts.shape))

    def result(self) -> Tensor:
        """Return the mean over the classes that occur."""
        both, either = self._areas(ops.convert_to_tensor(self.counts))
        occurring = ops.sum(ops.cast(either > 0, self.dtype))
        return ops.divide_no_nan(ops.sum(ops.divide_no_nan(both, either)), occurring)

    def per_class(self) -> np.ndarray:
        """Return the ratio of each class as a NumPy array, NaN for absent ones."""
        both, either = self._areas(ops.convert_to_tensor(self.counts))
        both, either = ops.convert_to_numpy(both), ops.convert_to_numpy(either)
        return np.where(either > 0, both / np.maximum(either, 1e-12), np.nan)

    def _areas(self, counts):
        """Return what truth and prediction mark together, and either of them."""
        both = ops.diagonal(counts)
        either = ops.sum(counts, axis=0) + ops.sum(counts, axis=1) - both
        return both, either

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
        }
