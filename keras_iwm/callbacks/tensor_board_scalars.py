"""TensorBoard curves on any backend."""

import time

import keras

from keras_iwm.arguments import as_path
from keras_iwm.type_aliases import Logs, Path


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the numbers that `fit` logs per epoch as TensorBoard scalars.

    `keras.callbacks.TensorBoard` needs TensorFlow on every backend; this one needs
    only `tensorboardX`. Put it after the callbacks whose numbers it shall write. A
    resumed run adds to the same curves when it is given the same folder.

    Args:
        folder: Path of the folder for `tensorboard --logdir`, made if missing.

    Raises:
        ImportError: If `tensorboardX` is not installed.

    Example:

    ```python
    import tempfile
    import keras
    import numpy as np
    from keras_iwm.callbacks import TensorBoardScalars

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    model.fit(
        np.zeros((4, 3)),
        np.zeros((4, 1)),
        epochs=2,
        callbacks=[TensorBoardScalars(tempfile.mkdtemp())],
    )
    ```
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "`TensorBoardScalars` needs tensorboardX: `pip install tensorboardX`."
            ) from error
        self.folder = as_path("folder", folder)
        self._writer = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Opens an event file."""
        import tensorboardX

        # The default names of two files opened in the same second are the same.
        self._writer = tensorboardX.SummaryWriter(
            str(self.folder), filename_suffix=f".{time.time_ns()}"
        )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Writes every number among the logs, at the step `epoch`."""
        for name, value in (logs or {}).items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            self._writer.add_scalar(name, number, global_step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Closes the event file."""
        self._writer.close()
