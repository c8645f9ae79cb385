"""Gradients that leave for other processes while the backward pass goes on."""

import torch
import torch.distributed

BUCKET_SIZE = 6_500_000  # gradients that are sent at once


class TorchExchange:
    """Averages the gradients of parameters over the processes of `torch.distributed`.

    A backward pass makes the gradients of the last layers first. So they are put in
    buckets in the reverse order of the parameters, and each bucket is sent as soon as
    it is whole. All processes send in one order, whatever order theirs are made in.

    Args:
        parameters: List of `torch.nn.Parameter`, in the order of the model.
        dtype: `torch.dtype` in which gradients travel, or `None` for their own.
        bucket_size: Integer, gradients that are sent at once.
    """

    def __init__(self, parameters, dtype=None, bucket_size=BUCKET_SIZE):
        self.dtype = dtype
        self.buckets, size = [[]], 0
        for parameter in reversed(parameters):
            size += parameter.numel()
            if size > bucket_size and self.buckets[-1]:
                self.buckets.append([])
                size = parameter.numel()
            self.buckets[-1].append(parameter)
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(self._note)
            for parameter in parameters
        ]
        self.awaited = []  # for each bucket, the ids of those without a gradient

    def remove(self):
        """Take the hooks off the parameters."""
        for hook in self.hooks:
            hook.remove()

    def begin(self, sums):
        """Await the gradients of a backward pass.

        Args:
            sums: Dictionary from the id of a parameter to a tensor that is to be added
                to its gradient, empty if there are none.
        """
        self.awaited = [{id(p) for p in bucket} for bucket in self.buckets]
        self.sums, self.sent = sums, []

    def finish(self):
        """Wait for the averages, and put them in the gradients' place.

        Raises:
            ValueError: If a parameter has got no gradient.
        """
        missing, self.awaited = sum(map(len, self.awaited)), []
        if missing:
            raise ValueError(
                "Every trainable weight must have a part in the loss when several "
                "processes train, for their gradients are averaged. "
                f"{missing} of {len(self.hooks)} had no gradient. "
                "Freeze them with `trainable = False` and compile again."
            )
        for bucket, (flat, work) in zip(self.buckets, self.sent, strict=True):
            work.wait()
            pieces = flat.split([parameter.numel() for parameter in bucket])
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad.copy_(piece.view_as(parameter))
                parameter.grad /= torch.distributed.get_world_size()

    def _note(self, parameter):
        """Note a parameter's gradient; send the buckets whose turn has come."""
        if not self.awaited:
            return  # of a backward pass outside of the train step
        for awaited in self.awaited:
            awaited.discard(id(parameter))
        while len(self.sent) < len(self.buckets) and not self.awaited[len(self.sent)]:
            self._send(self.buckets[len(self.sent)])

    @torch.no_grad()
    def _send(self, bucket):
        gradients = [
            parameter.grad + self.sums[id(parameter)] if self.sums else parameter.grad
            for parameter in bucket
        ]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        flat = flat.to(self.dtype or flat.dtype)
        work = torch.distributed.all_reduce(flat, async_op=True)
        self.sent.append((flat, work))
