"""Copies of a model in processes of Torch."""

import contextlib

import torch
import torch.distributed
from keras import ops
from torch.nn.functional import pad

from keras_iwm.backend.own_draws import own_draws
from keras_iwm.backend.replicas import Replicas
from keras_iwm.seeds import hash_seed

BUCKET_SIZE = 25_000_000  # gradients that are sent at once


class TorchReplicas(Replicas):
    """The processes of `torch.distributed`, one copy of the model in each.

    `fit` calls the model itself, so `DistributedDataParallel` around it would never
    see a batch. Instead, hooks on the parameters note when a backward pass has made
    the last gradient, and average them all before the optimizer reads them.
    """

    def __init__(self):
        self.parameters = []
        self.hooks = []
        self.awaited = set()  # ids of parameters without their gradient of this step

    def prepare(self, model):
        """Start all processes from the first one's state, and hook the gradients."""
        parameters = [variable.value for variable in model.trainable_variables]
        known = [id(parameter) for parameter in self.parameters]
        if count_processes() == 1 or [id(p) for p in parameters] == known:
            return
        for variable in (*model.variables, *model.optimizer.variables):
            torch.distributed.broadcast(variable.value.data, src=0)
        for hook in self.hooks:
            hook.remove()
        self.parameters = parameters
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(self._receive)
            for parameter in parameters
        ]

    def draw_offset(self):
        """A number hashed from the process's rank; the first one's is 0."""
        if count_processes() == 1:
            return None
        rank = torch.distributed.get_rank()
        return hash_seed(rank, 2) if rank else 0

    @contextlib.contextmanager
    def step(self, model):
        """One train step, whose gradients are averaged over the processes."""
        if count_processes() > 1:
            self.awaited = {id(parameter) for parameter in self.parameters}
        with own_draws(model):
            yield
        if self.awaited:
            raise ValueError(
                "Every trainable weight must have a part in the loss when several "
                "processes train: their gradients are averaged once all are there. "
                f"{len(self.awaited)} of {len(self.parameters)} had no gradient. "
                "Freeze them with `trainable = False` and compile again."
            )

    def average(self, results):
        """Average metric results over the processes; all of them must ask."""
        if count_processes() == 1 or not results:
            return results
        values = ops.stack([ops.cast(value, "float32") for value in results.values()])
        torch.distributed.all_reduce(values)
        return dict(zip(results, values / count_processes(), strict=True))

    def _receive(self, parameter):
        """Note a parameter's gradient; average all behind the last one."""
        if id(parameter) not in self.awaited:
            return  # of a backward pass outside of the train step
        self.awaited.remove(id(parameter))
        if not self.awaited:
            average_gradients(self.parameters)


def count_processes():
    """Processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1


def average_gradients(parameters):
    """Average the parameters' gradients over the processes, in large buckets."""
    buckets, size = [[]], 0
    for parameter in parameters:
        size += parameter.numel()
        if size > BUCKET_SIZE and buckets[-1]:
            buckets.append([])
            size = parameter.numel()
        buckets[-1].append(parameter.grad)
    sent = []
    for bucket in buckets:
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        sent.append((flat, torch.distributed.all_reduce(flat, async_op=True)))
    for bucket, (flat, work) in zip(buckets, sent, strict=True):
        work.wait()
        flat /= count_processes()
        pieces = flat.split([gradient.numel() for gradient in bucket])
        for gradient, piece in zip(bucket, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))


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
