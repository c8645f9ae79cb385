"""How long a run trains."""

import time

import keras


class TrainingTime(keras.callbacks.Callback):
    """Sum of the epochs' seconds, compilation included, measurements left out.

    It must be the first callback.
    """

    seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop it, before anything is measured."""
        self.seconds += time.perf_counter() - self._start
