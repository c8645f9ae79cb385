"""What processes of Torch ask each other."""

import torch
import torch.distributed

from keras_iwm.backend.torch_replicas import count_processes


def process_index():
    """See `processes.process_index`."""
    return torch.distributed.get_rank() if count_processes() > 1 else 0


def ask_all(number):
    """See `processes.ask_all`."""
    if count_processes() == 1:
        return lambda: number
    on_gpu = torch.distributed.get_backend() == "nccl"
    largest = torch.tensor(number, device="cuda" if on_gpu else "cpu")
    maximum = torch.distributed.ReduceOp.MAX
    work = torch.distributed.all_reduce(largest, maximum, async_op=True)

    def answer():
        work.wait()
        return int(largest)

    return answer
