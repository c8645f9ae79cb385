"""An end for runs in which every step has to be skipped."""

import collections

import keras
from keras import ops

from keras_iwm.arguments import as_count, as_object, as_optional
from keras_iwm.backend import peek
from keras_iwm.callbacks.non_finite_error import NonFiniteError
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.type_aliases import Logs


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends a run after a number of skipped steps in a row, and says where to look.

    `fit` skips a step whose loss, gradients or learning rate are not finite: nothing
    changes, and the next batch is tried. One such step costs nothing. Many in a row
    mean that the run will not recover, or that the data are broken. This callback
    then raises a `NonFiniteError` with epoch and step, learning rate, last finite
    loss and the images of the batch. Weights and checkpoints are as good as before.

    Under `mixed_float16` a few skipped steps are how Keras finds its loss scale: let
    `max_skipped` be 20 or more. It counts within one call of `fit`, beyond the ends
    of epochs, and reads the number one step late, so that no step waits for it.

    Args:
        max_skipped: Positive integer, skipped steps in a row that end the run.
        dataset: Optional dataset that is fitted on, such as `ImageFolder`, to name
            the images; `ImageArray` tells their indices.

    Raises:
        NonFiniteError: In `fit`, when so many steps in a row were skipped.
        ValueError: If `max_skipped` is less than 1 or `dataset` no such dataset; when
            a run begins, if the model skips no steps, for it is none of this library's.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    dataset = keras_iwm.datasets.ImageArray(images, batch_size=8)
    stop = keras_iwm.callbacks.StopOnNonFinite(dataset=dataset)
    model.fit(dataset, callbacks=[stop])
    ```
    """

    def __init__(
        self, max_skipped: int = 20, dataset: EpochOrderedDataset | None = None
    ) -> None:
        super().__init__()
        self.max_skipped = as_count("max_skipped", max_skipped)
        self.dataset = as_optional(
            as_object,
            "dataset",
            dataset,
            ["batch_indices"],
            "one of keras_iwm.datasets",
        )

    def set_model(self, model: keras.Model) -> None:
        """Keep the model: to ask for `self.model` fills all its weights on JAX."""
        super().set_model(model)
        self._fitted = model

    def on_train_begin(self, logs: Logs = None) -> None:
        """Refuse a model that skips nothing."""
        if not hasattr(self._fitted, "faults"):
            raise ValueError(
                "`StopOnNonFinite` needs a model of keras_iwm, which skips steps that "
                f"are not finite. Received: {type(self._fitted).__name__}. Use "
                "keras.callbacks.TerminateOnNaN."
            )
        self._counts = collections.deque()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Note where the run is."""
        self._epoch = epoch
        self._data_epoch = getattr(self.dataset, "epoch", None)
        # An epoch that is resumed begins in its midst.
        self._start = getattr(self.dataset, "position", 0)
        self._next_step = 0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Look at the step before the last one, which is done by now."""
        if batch:
            self._note(batch - 1)
        self._next_step = batch + 1
        self._judge(leave=1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Look at the steps that are left."""
        self._note((self.params.get("steps") or self._next_step) - 1)
        self._judge(leave=0)

    def _note(self, step):
        """Keep the counter of the step that has been started last."""
        self._counts.append((step, peek(self._fitted, self._fitted.faults.in_a_row)))

    def _judge(self, leave):
        """Raise the error if a noted step is one too many, but for the last ones."""
        while len(self._counts) > leave:
            step, count = self._counts.popleft()
            skipped = int(ops.convert_to_numpy(count))
            if skipped >= self.max_skipped:
                model = self.model  # with all its weights
                raise NonFiniteError(
                    epoch=self._epoch,
                    step=step,
                    skipped_steps=skipped,
                    learning_rate=float(
                        ops.convert_to_numpy(model.optimizer.learning_rate)
                    ),
                    last_loss=float(ops.convert_to_numpy(model.faults.last_loss)),
                    images=self._images(step),
                )

    def _images(self, step):
        """Names or indices of the images in the batch of a step."""
        if self.dataset is None:
            return None
        indices = self.dataset.batch_indices(
            self._start + step, self._data_epoch
        ).tolist()
        paths = getattr(self.dataset, "paths", None)
        return indices if paths is None else [str(paths[index]) for index in indices]
