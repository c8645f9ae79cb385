"""World-model and representation quality in a run's log."""

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count, as_optional
from keras_iwm.array_arguments import check_image_array, check_labels
from keras_iwm.backend import alone
from keras_iwm.evaluation.bank_ranking import predicts_actions
from keras_iwm.evaluation.check_images_for import check_images_for
from keras_iwm.evaluation.extract_features import extract_features
from keras_iwm.evaluation.probes import knn_accuracy
from keras_iwm.evaluation.retrieval_bank import RetrievalBank, check_bank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.metrics.rank_me import feature_spread, rank_me
from keras_iwm.type_aliases import Array, Logs

LOGGED = ("mrr", "mrr_chance", "hit_at_1", "mrr_shuffled_action")


class WorldModelQuality(keras.callbacks.Callback):
    """Log what the world model and its features are worth, while it is fitted.

    The loss of a joint-embedding model says little: it may rise while the model
    learns, and a collapsed one shows a small, stable loss. At the end of epochs this
    adds to the logs, all of them of the feature encoder (the teacher):

    - `mrr`, `mrr_chance`, `hit_at_1`, `mrr_shuffled_action`: how well the model
      applies actions, see `keras_iwm.evaluation.WorldModelEvaluator`. Only for world
      models with shared operations; I-JEPA has none.
    - `mrr_swapped_image` with `swapped_image`, and with `by_slot` `mrr_hue` and
      `parameter_error_hue` and so on for each slot.
    - `rankme` and `feature_std` of the average-pooled features of `images`.
    - `knn_accuracy` with `labels`: of `images` among `train_images`, or without
      those of each image among the other ones (leave one out).

    It measures at epoch 0, at every `every`-th epoch and at the last one. The logs of
    the epochs between lack these values; in what `fit` returns they are NaN, so that
    all lists have one entry for each epoch. Put it before loggers such as `HistoryFile`
    in the list of callbacks: they write what they find. (`keras.callbacks.CSVLogger`
    fixes its columns at the first epoch that it sees.) Of several processes give it to
    every one: each measures the same, on a device of its own.

    Sources: image world models, arXiv 2403.00504; RankMe, arXiv 2210.02885.

    Args:
        images: Array of shape `(num_images, height, width, num_channels)` of at least 2
            images, best held out from training, of the model's `image_size` and in its
            `value_range`; or of clips, for a model that takes them.
        labels: Optional integers of shape `(num_images,)`, for kNN.
        train_images: Optional array of images like `images`, kNN's neighbours.
        train_labels: Integers, one for each of `train_images`.
        bank: `RetrievalBank`, by default the model's, which for colour jitter is the
            headline bank of 256 entries.
        every: Positive integer, epochs between measurements.
        retrieval_images: Optional array of images like `images`, at least 2, on
            which actions are measured. Defaults to 20 of `images`, evenly spaced.
            They cost most: each is as much work as encoding 256 images and
            predicting as many. With a part of the images that a final measurement
            takes, the log and that measurement agree but for the sample's size.
        by_slot: Boolean, whether to measure each slot alone too: 33 more entries each.
        swapped_image: Boolean, whether to measure the control with another image's
            context, which costs one more pass of the predictor.
        num_neighbors: Positive integer, the neighbours that vote in kNN.
        batch_size: Positive integer, images or bank entries that pass through the
            model at once.

    Raises:
        ValueError: If labels do not fit the images, or, when training begins, the
            images do not fit the model.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), "uint8")
    quality = keras_iwm.callbacks.WorldModelQuality(images[16:])
    history = model.fit(images[:16], batch_size=8, callbacks=[quality])
    history.history["mrr"], history.history["rankme"]
    ```
    """

    def __init__(
        self,
        images: Array,
        labels: Array | None = None,
        train_images: Array | None = None,
        train_labels: Array | None = None,
        bank: RetrievalBank | None = None,
        every: int = 1,
        retrieval_images: Array | None = None,
        by_slot: bool = False,
        swapped_image: bool = False,
        num_neighbors: int = 10,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        images = check_image_array("images", images)
        retrieval_images = as_optional(
            check_image_array, "retrieval_images", retrieval_images
        )
        train_images = as_optional(check_image_array, "train_images", train_images)
        if bank is not None:
            check_bank(bank)
        if (train_images is None) != (train_labels is None) or (
            train_images is not None and labels is None
        ):
            raise ValueError(
                "kNN among `train_images` needs all of `labels`, `train_images` and "
                "`train_labels`. Pass the missing ones, or `labels` alone for leave "
                "one out."
            )
        if labels is not None:
            labels = check_labels(labels, len(images))
            num_others = len(images) - 1
            if train_images is not None:
                num_others = len(train_images)
                train_labels = check_labels(train_labels, num_others, "train_labels")
            as_count("num_neighbors", num_neighbors, 1, num_others)
        if retrieval_images is None:
            count = min(20, len(images))
            chosen = np.linspace(0, len(images) - 1, count).round().astype(int)
            retrieval_images = images[chosen]
        self.images = images
        self.retrieval_images = retrieval_images
        self.labels = labels
        self.train_images = train_images
        self.train_labels = train_labels
        self.bank = bank
        self.every = as_count("every", every)
        self.by_slot = as_boolean("by_slot", by_slot)
        self.swapped_image = as_boolean("swapped_image", swapped_image)
        self.num_neighbors = as_count("num_neighbors", num_neighbors)
        self.batch_size = as_count("batch_size", batch_size)
        self._evaluator = None
        self._names = ()  # of what is measured

    def on_train_begin(self, logs: Logs = None) -> None:
        """Check the images against the model before any time is spent."""
        encoder = self.model.feature_encoder
        self._names = ()
        for name in ("images", "train_images", "retrieval_images"):
            if getattr(self, name) is not None:
                check_images_for(encoder, getattr(self, name), name)
        if not predicts_actions(self.model):
            self._evaluator = None
        elif self._evaluator is None or self._evaluator.model is not self.model:
            with alone(self.model):
                self._evaluator = WorldModelEvaluator(
                    self.model,
                    self.retrieval_images,
                    self.bank,
                    self.batch_size,
                    self.swapped_image,
                )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Add the measured values to the logs, at the epochs for that."""
        is_last = epoch + 1 == self.params.get("epochs")
        if epoch % self.every == 0 or is_last:
            with alone(self.model):
                measured = self._measure()
            values = {name: float(value) for name, value in measured.items()}
            self._names = tuple(values)
            self._fill_history()
            if logs is not None:
                logs.update(values)

    def on_train_end(self, logs: Logs = None) -> None:
        """Fill the history of a run that was ended before its last epoch."""
        self._fill_history()

    def _fill_history(self):
        """Put NaN in the history for the epochs without a measurement."""
        history = self.model.history
        for name in self._names:
            values = history.history.setdefault(name, [])
            values += [float("nan")] * (len(history.epoch) - len(values))

    def _measure(self):
        """Measure the model as it is now."""
        values = {}
        if self._evaluator is not None:
            results = self._evaluator.evaluate(verbose=False)
            for key in (*LOGGED, *(["mrr_swapped_image"] * self.swapped_image)):
                values[key] = results[key]
            if self.by_slot:
                values |= self._evaluator.evaluate_by_slot(verbose=False)
        features = self._features(self.images)
        values["rankme"] = rank_me(features)
        values["feature_std"] = feature_spread(features)
        if self.train_images is not None:
            values["knn_accuracy"] = knn_accuracy(
                self._features(self.train_images),
                self.train_labels,
                features,
                self.labels,
                self.num_neighbors,
            )
        elif self.labels is not None:
            values["knn_accuracy"] = knn_accuracy(
                features, self.labels, k=self.num_neighbors
            )
        return values

    def _features(self, images):
        """Pooled latents of the teacher."""
        return extract_features(
            self.model.feature_encoder, images, self.batch_size, verbose=False
        )
