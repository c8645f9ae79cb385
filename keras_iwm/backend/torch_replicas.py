"""Copies of a model in processes of Torch."""

import contextlib

import torch
import torch.distributed
from keras import ops
from torch.nn.functional import pad

from keras_iwm.backend.own_draws import own_draws
from keras_iwm.backend.replicas import Replicas
from keras_iwm.backend.torch_exchange import BUCKET_SIZE, TorchExchange
from keras_iwm.backend.torch_processes import (
    accumulated,
    count_processes,
    process_index,
)
from keras_iwm.seeds import hash_seed


class TorchReplicas(Replicas):
    """The processes of `torch.distributed`, one copy of the model in each.

    `fit` calls the model itself, so `DistributedDataParallel` around it would never
    see a batch. Instead, hooks on the parameters send gradients as the backward pass
    makes them, and the step waits for the averages before the optimizer reads them.

    Where gradients are accumulated, each copy adds up its own, and only the backward
    pass that completes an update sends the sums.
    """

    def __init__(self):
        self.exchange = None
        self.dtype, self.bucket_size = None, BUCKET_SIZE
        self.parameters = []

    def prepare(self, model):
        """Start all processes from the first one's state, and hook the gradients."""
        parameters = [variable.value for variable in model.trainable_variables]
        if self.exchange is not None:
            self.exchange.remove()
            self.exchange = None
        if count_processes() == 1:
            return
        if [id(p) for p in parameters] != [id(p) for p in self.parameters]:
            for variable in (*model.variables, *model.optimizer.variables):
                torch.distributed.broadcast(variable.value.data, src=0)
        self.parameters = parameters
        self.exchange = TorchExchange(parameters, self.dtype, self.bucket_size)

    def set_exchange_dtype(self, dtype):
        """Let gradients travel in a dtype, from the next call of `fit` on."""
        self.dtype = None if dtype == "float32" else getattr(torch, dtype)

    def draw_offset(self):
        """A number hashed from the process's rank; the first one's is 0."""
        if count_processes() == 1:
            return None
        rank = process_index()
        return hash_seed(rank, 2) if rank else 0

    @contextlib.contextmanager
    def step(self, model):
        """One train step, whose gradients are averaged over the processes."""
        self.sends = self.exchange is not None
        self.sums = accumulated(model) if self.sends else {}
        if self.sums:
            count = int(model.optimizer._iterations.value) + 1
            self.sends = count % model.optimizer.gradient_accumulation_steps == 0
        if self.sends:
            self.exchange.begin(self.sums)
        with own_draws(model):
            yield

    def receive(self):
        """Wait until gradients are those of all copies, if they are exchanged."""
        if self.sends:
            self.exchange.finish()

    def agree(self, finite):
        """Whether all copies have found their gradients finite."""
        if self.exchange is not None and not self.sends:
            device = self.parameters[0].device
            flag = torch.tensor(finite, dtype=torch.uint8, device=device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN)
            return bool(flag)
        if finite:
            for total in self.sums.values():
                total.zero_()  # It is in the gradients that were exchanged.
        return finite

    def average(self, results):
        """Average metric results over the processes; all of them must ask."""
        if count_processes() == 1 or not results:
            return results
        values = ops.stack([ops.cast(value, "float32") for value in results.values()])
        torch.distributed.all_reduce(values)
        return dict(zip(results, values / count_processes(), strict=True))


def gather_batch(rows):
    """See `operations.gather_batch`."""
    if count_processes() == 1:
        return rows
    # Not imported where Torch comes without processes.
    from torch.distributed.nn.functional import all_reduce

    rank = torch.distributed.get_rank()
    counts = torch.zeros(count_processes(), dtype=torch.int64, device=rows.device)
    counts[rank] = len(rows)
    torch.distributed.all_reduce(counts)
    before, after = int(counts[:rank].sum()), int(counts[rank + 1 :].sum())
    # Each copy's rows stand where the others have zeros.
    return all_reduce(pad(rows, (0, 0) * (rows.ndim - 1) + (before, after)))
