"""How long a run will take, in a log file."""

import datetime
import time

import keras

from keras_iwm.arguments import as_positive
from keras_iwm.type_aliases import Logs


class RemainingTime(keras.callbacks.Callback):
    """Prints a line now and then within an epoch: how far it is, and how long it takes.

    A terminal has Keras's bar (`verbose=1`). In a file such a bar is thousands of
    lines, so one takes `verbose=2` there, which is silent until an epoch ends, maybe
    for hours. This adds, to the standard output:

    ```
    epoch 3/100, step 500/12000: 84 ms a step, epoch ends in 0:16:06, run in 1 day, ...
    ```

    The time counts steps alone, the first one, which compiles, left out; not what is
    measured between epochs. Keras counts that as steps: where it takes longer than they
    do, and this callback stands behind those that measure, a line tells them apart.

    Args:
        every_seconds: Positive number, the least seconds between two lines.

    Example:

    ```python
    import keras
    import numpy as np
    from keras_iwm.callbacks import RemainingTime

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    data = np.zeros((64, 3)), np.zeros((64, 1))
    model.fit(*data, verbose=2, callbacks=[RemainingTime(every_seconds=30)])
    ```
    """

    def __init__(self, every_seconds: float = 60) -> None:
        super().__init__()
        self.every_seconds = as_positive("every_seconds", every_seconds)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begins to count."""
        self._printed = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begins an epoch."""
        self._epoch, self._first = epoch, None
        self._began = self._last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Prints a line, if it is time."""
        self._last = now = time.monotonic()
        if self._first is None:
            self._first = batch, now
        elif now - self._printed >= self.every_seconds:
            first, start = self._first
            print(self._line(batch + 1, (now - start) / (batch - first)), flush=True)
            self._printed = now

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Prints a line, if others took longer than the steps."""
        steps, others = self._last - self._began, time.monotonic() - self._last
        if others > max(1.0, steps):
            epochs = self.params.get("epochs", 1)
            print(
                f"epoch {epoch + 1}/{epochs}: {steps:.3g} s of steps, {others:.3g} s "
                "of measurements behind them",
                flush=True,
            )

    def _line(self, done, seconds):
        """What there is to say after some steps of so many seconds."""
        steps, epochs = self.params.get("steps"), self.params.get("epochs", 1)
        line = f"epoch {self._epoch + 1}/{epochs}, step {done}"
        speed = f"{1000 * seconds:.3g} ms a step"
        if steps is None:
            return f"{line}: {speed}"
        left = steps - done
        in_all = left + steps * (epochs - self._epoch - 1)
        epoch_ends, run_ends = (
            datetime.timedelta(seconds=round(seconds * count))
            for count in (left, in_all)
        )
        return f"{line}/{steps}: {speed}, epoch ends in {epoch_ends}, run in {run_ends}"
