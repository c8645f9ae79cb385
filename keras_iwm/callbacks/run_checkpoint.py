"""A whole run in one file or folder, after every epoch and within."""

import pathlib
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import keras

from keras_iwm.arguments import (
    as_boolean,
    as_choice,
    as_count,
    as_name,
    as_optional,
    as_path,
    as_positive,
    shown,
)
from keras_iwm.backend import ask_all, process_index
from keras_iwm.callbacks.run_file import (
    find_runs,
    read_newest_run,
    refuse_further_run,
    run_path,
    save_run,
)
from keras_iwm.callbacks.run_state import (
    is_better,
    mend_history,
    plain_values,
    restore_averages,
    restore_callbacks,
    restore_history,
    restore_variables,
)
from keras_iwm.callbacks.stop_signals import StopSignals
from keras_iwm.datasets.epoch_ordered_dataset import EpochOrderedDataset
from keras_iwm.type_aliases import AnyModel, Logs, Path
from keras_iwm.whole_file import whole_file


class RunCheckpoint(keras.callbacks.Callback):
    """Saves a run as it goes, so that it can be resumed exactly, whatever ends it.

    `epoch_0012.keras` is the run after twelve epochs, `epoch_0012_step_000500.keras`
    after five hundred steps more: weights, target encoder, optimizer and schedules,
    all seeds, the averages of the epoch so far, the history, and the state of
    `callbacks`. Any of them is a plain Keras file too. The resumed run equals the
    uninterrupted one, bit for bit on one device, if the data come from this library's
    datasets, whose order is a function of the epoch.

    With `sharded=True` `epoch_0012` is a folder, each process writes its part of it,
    another number of them can go on, and `keras-iwm merge` makes a Keras file of it.

    - Files are written under another name, brought to the disk and only then renamed,
      folders count once their index is: a crash at any moment leaves whole ones behind.
      What is damaged later is set aside with a warning, and the one before is used.
    - A run with a weight that is not finite is never saved; a warning names some.
    - SIGTERM and Ctrl-C finish the step, save and end the process, with exit codes 143
      and 130. A second signal acts at once.
    - Of several processes, on one host or many, the first one writes a file. A signal
      to any of them stops all behind the same step, which is the one after.

    Put it last among the callbacks, so that it saves what the others have done. Give
    it to every process; all need to see the folder.

    Args:
        folder: Path of the folder, made if missing. One folder per run.
        keep: Positive integer, how many of the newest checkpoints to keep.
        every_steps: Optional positive integer: also save after so many steps of an
            epoch.
        every_seconds: Optional positive number: also save, after a step, when so many
            seconds have gone by since the last time.
        monitor: Optional string, a value of the log such as `"val_loss"`; the best
            epoch by it is kept as `best.keras` besides.
        mode: `"min"` or `"max"`, which values of `monitor` are better.
        callbacks: Other callbacks of the run whose state goes on, such as
            `EarlyStopping`; they must be given to `fit` too.
        sharded: Boolean, whether each process writes its part of a folder.

    Raises:
        ValueError: If an argument is out of its range; when an epoch begins, if the
            folder holds a checkpoint of a later one, for this run would mix with it.

    Example:

    ```python
    import os, tempfile
    import keras
    import numpy as np
    from keras_iwm.callbacks import RunCheckpoint
    from keras_iwm.datasets import ImageArray

    def make_model():
        layers = [keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((4, 4, 3)), *layers])
        model.compile("sgd", loss="mse")
        return model

    images = np.zeros((8, 4, 4, 3), "float32")
    folder = os.path.join(tempfile.mkdtemp(), "run")
    for epochs in (2, 3):  # The second time stands for a restart after a crash.
        dataset = ImageArray(images, labels=np.zeros(8), batch_size=4)
        checkpoint = RunCheckpoint(folder, every_seconds=600)
        model, initial_epoch = checkpoint.resume(dataset, make_model)
        arguments = {"epochs": epochs, "callbacks": [checkpoint]}
        model.fit(dataset, initial_epoch=initial_epoch, **arguments)
    sorted(os.listdir(folder))  # ["epoch_0002.keras", "epoch_0003.keras"]
    ```
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self.folder = as_path("folder", folder)
        self.keep = as_count("keep", keep)
        self.every_steps = as_optional(as_count, "every_steps", every_steps)
        self.every_seconds = as_optional(as_positive, "every_seconds", every_seconds)
        self.monitor = as_optional(as_name, "monitor", monitor)
        self.mode = as_choice("mode", mode, ("min", "max"))
        if not isinstance(callbacks, (list, tuple)) or not all(
            isinstance(callback, keras.callbacks.Callback) for callback in callbacks
        ):
            raise ValueError(
                "`callbacks` must be a list of Keras callbacks, () for none. Received: "
                f"callbacks={shown(callbacks)}."
            )
        self.callbacks = list(callbacks)
        self.sharded = as_boolean("sharded", sharded)
        if self.sharded and monitor is not None:
            raise ValueError(
                "`monitor` must be None with `sharded=True`, which keeps the newest "
                f"checkpoints only. Received: monitor={monitor!r}."
            )
        self._signals = StopSignals()
        self._best = self._dataset = self._resumed = None  # resumed: what the file held
        self._record = []  # Pairs of an epoch and its log.
        self._offset = 0  # Steps of the current epoch before this `fit`.

    def resume(
        self,
        dataset: EpochOrderedDataset,
        make_model: Callable[[], keras.Model],
        history: Path | None = None,
    ) -> tuple[AnyModel, int]:
        """Goes on with the run in the folder, or starts it: one call before `fit`.

        Args:
            dataset: The dataset of this library to fit on; its `epoch` and `position`
                are set.
            make_model: Function without arguments that returns the new, compiled
                model; called only if there is no checkpoint.
            history: Optional path of the file of `HistoryFile`, or of Keras's
                `CSVLogger(history, append=initial_epoch > 0)`. It is made to end with
                the epochs behind, so that they continue it.

        Returns:
            Tuple `(model, initial_epoch)`: the model, compiled, with its optimizer's
            state, and the number of whole epochs it has behind it, for `fit`.

        Raises:
            ValueError: If `dataset` is not one of this library's, every checkpoint in
                the folder is damaged, or another process has found a newer one.
        """
        if not isinstance(dataset, EpochOrderedDataset):
            raise ValueError(
                "`dataset` must be one of keras_iwm.datasets, whose order can go on "
                f"where it stopped. Received: {type(dataset).__name__}."
            )
        found = read_newest_run(self.folder)
        if found is None:
            model, epoch, step, record = make_model(), 0, 0, []
        else:
            epoch, step, load, run, arrays = found
            model, record = load(), run["record"]
            restore_variables(model, arrays, "seeds")
            self._resumed = run, arrays
        self._dataset, self._offset = dataset, step
        dataset.epoch, dataset.position = epoch, step
        if history is not None:
            mend_history(history, record)
        return model, epoch

    @staticmethod
    def latest(folder: Path) -> tuple[str, int, int] | None:
        """Finds the newest checkpoint.

        Args:
            folder: Path of the run's folder, which need not exist.

        Returns:
            Tuple `(path, epoch, step)`: its path, the number of whole epochs
            it has behind it, and of steps of the next one. `None` if there is none.
        """
        runs = find_runs(pathlib.Path(folder))
        if not runs:
            return None
        epoch, step, path = runs[-1]
        return str(path), epoch, step

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begins to listen to signals."""
        self._signals.install()
        self._saved_at, self._starts = time.monotonic(), None
        if self._resumed and self._dataset.epoch >= self.params["epochs"]:
            self._continue()  # no epoch is left, but what the others do at the end

    def on_train_end(self, logs: Logs = None) -> None:
        """Gives the signals back."""
        self._signals.restore()
        self.model.history.epoch = [epoch for epoch, _ in self._record]
        if self.monitor is not None and self._best is None:
            seen = sorted(self._record[-1][1]) if self._record else []
            warnings.warn(
                "No `best.keras` was kept: the log never had a number for `monitor`, "
                f"{self.monitor!r}. The last epoch's had {seen}.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Refuses a folder in which a run has come further; goes on with this one."""
        if self._starts is None:
            if self._resumed is not None and epoch != self._dataset.epoch:
                raise ValueError(
                    "`initial_epoch` of `fit` must be what `resume` has returned, "
                    f"{self._dataset.epoch}. Received: {epoch}."
                )
            refuse_further_run(self.folder, epoch, self._offset)
            # What `fit` has made of them, before this run changes it.
            self._starts = [plain_values(callback) for callback in self.callbacks]
            if self._resumed is not None:
                self._continue()
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Saves the run within an epoch, if it is time or a signal has come."""
        step = self._offset + batch + 1
        late = self.every_seconds is not None
        late = late and time.monotonic() - self._saved_at >= self.every_seconds
        due = self._signals.ask(late)
        due |= self.every_steps is not None and step % self.every_steps == 0
        # The end of the epoch saves its last step.
        if due and step < (self.params.get("steps") or sys.maxsize):
            self._save(self._epoch, step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Saves the run, then removes the oldest checkpoints."""
        self._offset = 0
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._record.append([epoch, logs])
        value = logs.get(self.monitor)
        better = is_better(value, self._best, self.mode)
        if better:
            self._best = value
        self._signals.ask(wait=True)
        saved = self._save(epoch + 1, 0)
        if better and saved:
            with whole_file(self.folder / "best.keras") as unfinished:
                shutil.copyfile(saved, unfinished)

    def _save(self, epoch, step):
        """Saves the run, and stops if a signal has come; returns its path.

        Where the first process writes alone, the others get `None`.
        """
        path, model = run_path(self.folder, epoch, step, self.sharded), self.model
        run = {"best": self._best, "record": self._record}
        callbacks = list(zip(self.callbacks, self._starts, strict=True))
        if not save_run(path, model, run, callbacks, self.keep):
            path = None
        self._saved_at = time.monotonic()
        if self._signals.agreed:
            ask_all(0)()
            if process_index() == 0:
                place = f"is saved as {path}" if path else "was not saved"
                print(f"Stopped by a signal; the run {place}.", file=sys.stderr)
            self._signals.stop()
        return path

    def _continue(self):
        """Sets what `fit` has just begun anew as it was when the run was saved."""
        (run, arrays), self._resumed = self._resumed, None
        self._best, self._record = run["best"], run["record"]
        restore_callbacks(self.callbacks, run, arrays)
        restore_history(self.model, self._record)
        if self._offset:
            restore_averages(self.model, arrays, self._dataset)
