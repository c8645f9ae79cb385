"""Names for the types in signatures, each with what it stands for.

Tensors have no static type that all backends share, and Keras comes without types: what
the library gives back as a tensor is `Tensor`, which a type checker lets pass.
"""

import os
from typing import TYPE_CHECKING, Any, Protocol

import keras

if TYPE_CHECKING:  # an optional package
    from matplotlib.figure import Figure as Figure
else:
    Figure = Any


class _ShapedNumbers(Protocol):
    """What every array and every tensor has."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


# Numbers that a function takes: an array of NumPy's, a tensor of any backend's, or a
# list of numbers. A path or a string is none.
Array = _ShapedNumbers | list[Any] | tuple[Any, ...]
# A tensor of the backend that runs, or a symbolic one of Keras's.
Tensor = Any
# Sizes of a tensor's axes, as Keras gives them to `build`; `None` if not known.
Shape = tuple[int | None, ...]
# Pixels, or the pair (height, width).
Size = int | tuple[int, int]
# The smallest and the largest value that a pixel can have.
ValueRange = tuple[float, float]
# Strings in an order. A lone string, which is a sequence too, is none.
Names = list[str] | tuple[str, ...]
# Where a file or a folder is.
Path = str | os.PathLike[str]
# A dtype or a policy, by its name or as Keras's object.
DType = str | keras.DTypePolicy
# A number, or one that changes from update to update.
Rate = float | keras.optimizers.schedules.LearningRateSchedule
# A model of a class that only running tells: the one in a file, or like another one.
AnyModel = Any
# Arguments of a constructor, as Keras's files hold them.
Config = dict[str, Any]
# What `fit` has measured so far, by name.
Logs = dict[str, Any] | None
