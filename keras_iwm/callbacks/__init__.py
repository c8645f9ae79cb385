"""Callbacks that watch and save a run."""

from keras_iwm.callbacks.collapse_warning import CollapseWarning as CollapseWarning
from keras_iwm.callbacks.history_file import HistoryFile as HistoryFile
from keras_iwm.callbacks.non_finite_error import NonFiniteError as NonFiniteError
from keras_iwm.callbacks.remaining_time import RemainingTime as RemainingTime
from keras_iwm.callbacks.run_checkpoint import RunCheckpoint as RunCheckpoint
from keras_iwm.callbacks.stop_on_non_finite import StopOnNonFinite as StopOnNonFinite
from keras_iwm.callbacks.tensor_board_scalars import (
    TensorBoardScalars as TensorBoardScalars,
)
from keras_iwm.callbacks.world_model_quality import (
    WorldModelQuality as WorldModelQuality,
)
