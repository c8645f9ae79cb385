"""What processes of Torch tell each other about files."""

import keras
import torch
import torch.distributed

from keras_iwm.backend import operations
from keras_iwm.backend.torch_replicas import count_processes


def process_place():
    """See `operations.process_place`."""
    count = count_processes()
    return (torch.distributed.get_rank() if count > 1 else 0), count


def gather_numbers(number):
    """See `operations.gather_numbers`."""
    _, count = process_place()
    if count == 1:
        return [number]
    numbers = keras.ops.convert_to_tensor([number], "int32")  # on the device in use
    gathered = [torch.empty_like(numbers) for _ in range(count)]
    torch.distributed.all_gather(gathered, numbers)
    return torch.cat(gathered).tolist()


def pieces_of(variable):
    """See `operations.pieces_of`."""
    ((index, _),) = operations.pieces_of(variable)
    return [(index, list(range(count_processes())))]
