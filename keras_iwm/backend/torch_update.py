"""Updates of many weights on Torch, each in a few calls for all of them."""

import functools
import itertools

import torch
from torch.optim.adamw import adamw

FOREACH = ("_foreach_sub", "_foreach_mul_", "_foreach_add_")


@torch.no_grad()
def fused_update(rows, rate, keep, betas, epsilon):
    """Take a step of AdamW in place, for parameters of one learning rate.

    Keras's own update is a dozen small calls for each of them.

    Args:
        rows: List of tuples, one for each parameter: whether it is decayed, then
            `keras.Variable`, gradient tensor, and the variables of both moments.
        rate: Float32 scalar tensor, the step's size with Adam's bias correction.
        keep: Float32 scalar tensor, what the decay leaves.
        betas: Pair of floats, decay of the two moments.
        epsilon: Float.
    """
    rows = [
        (decayed, variable.value, gradient, mean.value, square.value)
        for decayed, variable, gradient, mean, square in rows
    ]
    for decayed, weight, *_ in rows:
        if decayed:
            weight.mul_(keep)
    rows = [tensors for _, *tensors in rows]
    rows.sort(key=lambda row: str(row[0].dtype))
    # The kernel corrects the bias too, and puts epsilon elsewhere than Keras. After
    # infinitely many steps it has nothing left to correct.
    step = torch.full((), 1e9, device=rate.device)
    # Without this hook of Torch, what calls it: a millisecond more.
    kernel = getattr(torch, "_fused_adamw_", functools.partial(adamw, fused=True))
    for _, group in itertools.groupby(rows, key=lambda row: row[0].dtype):
        group = list(group)
        kernel(
            *(list(column) for column in zip(*group, strict=True)),
            max_exp_avg_sqs=[],
            state_steps=[step] * len(group),
            lr=rate,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=0.0,
            eps=epsilon,
            amsgrad=False,
            maximize=False,
        )


@torch.no_grad()
def move_towards(variables, targets, rate):
    """Move variables a share of the way to targets, in place.

    Args:
        variables: List of `keras.Variable`.
        targets: List of tensors of their shapes.
        rate: Float32 scalar tensor, the share.
    """
    values = [variable.value for variable in variables]
    if rate.is_cpu or not all(hasattr(torch, name) for name in FOREACH):
        for value, target in zip(values, targets, strict=True):
            value.lerp_(target.to(value.dtype), rate.to(value.dtype))
        return
    # Hooks of Torch that start a few kernels for all weights, and not one for each.
    steps = torch._foreach_sub(targets, values)
    torch._foreach_mul_(steps, rate)
    torch._foreach_add_(values, steps)
