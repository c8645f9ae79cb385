"""Variables of Torch in the pieces that processes hold."""

from keras_iwm.backend import operations
from keras_iwm.backend.torch_processes import count_processes


def pieces_of(variable):
    """See `operations.pieces_of`."""
    ((index, _),) = operations.pieces_of(variable)
    return [(index, list(range(count_processes())))]
