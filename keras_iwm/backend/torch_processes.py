"""What processes of Torch ask each other."""

import contextlib

import torch
import torch.distributed

from keras_iwm.backend.faults import skips_itself


def count_processes():
    """See `processes.count_processes`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


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


@contextlib.contextmanager
def alone(model):
    """See `processes.alone`. Each process has a model of its own."""
    settle(model)
    yield


def settle(model):
    """See `processes.settle`.

    Only gradients that are being accumulated differ: their average serves all alike.
    """
    if count_processes() > 1 and getattr(model, "optimizer", None) is not None:
        for total in accumulated(model).values():
            torch.distributed.all_reduce(total)
            total /= count_processes()


def accumulated(model):
    """What a model's optimizer adds up for an update, by the ids of parameters.

    One that scales the loss may change the scale in between. So its gradients are
    exchanged in every step, and nothing differs between processes.
    """
    optimizer = model.optimizer
    if skips_itself(optimizer) or not optimizer.gradient_accumulation_steps:
        return {}
    if not optimizer.built:
        return {}
    return {
        id(variable.value): optimizer._accumulated_gradients[
            optimizer._get_variable_index(variable)
        ].value
        for variable in model.trainable_variables
    }
