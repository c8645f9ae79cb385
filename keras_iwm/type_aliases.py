"""Names for the types in signatures.

Keras comes without types, and the tensors of the backends have none in common: what is
a tensor, or a model of any class, is `Any` under another name.
"""

import os
from collections.abc import Mapping, Sequence
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


Array = _ShapedNumbers | list[Any] | tuple[Any, ...]
"""Numbers: an array of NumPy's, a tensor of any backend's, or a list of numbers.

A string or a path is none.
"""

Tensor = Any
"""A tensor of the backend that runs, or a symbolic one of Keras's."""

Shape = tuple[int | None, ...]
"""The sizes of a tensor's axes, `None` where one is not known."""

Size = int | tuple[int, int]
"""Pixels of both sides, or the pair (height, width)."""

ValueRange = tuple[float, float]
"""The smallest and the largest value that a pixel can have."""

Names = list[str] | tuple[str, ...]
"""Strings in an order. A lone string, though a sequence, is none."""

Path = str | os.PathLike[str]
"""Where a file or a folder is."""

History = keras.callbacks.History | Mapping[str, Sequence[float]] | Path
"""What a run has logged: what `fit` returns, its dictionary, or a file of it."""

DType = str | keras.DTypePolicy
"""A dtype or a policy of Keras's, by name or as an object."""

Rate = float | keras.optimizers.schedules.LearningRateSchedule
"""A number, or one that changes from update to update."""

AnyModel = Any
"""A model of a class that is not known before it runs, such as that in a file."""

Config = dict[str, Any]
"""Arguments of a constructor, as Keras's files hold them."""

Logs = dict[str, Any] | None
"""What `fit` has measured so far, by name."""
