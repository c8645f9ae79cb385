"""Updates of many weights on Torch, each in a few calls for all of them."""

import itertools

import torch


@torch.no_grad()
def update(weights, gradients, momentums, velocities, rate, betas, epsilon):
    """Move weights and moments in place.

    Keras's own update is a dozen small calls for each weight.

    Args:
        weights: List of tensors.
        gradients: List of tensors like them.
        momentums: List of tensors like them.
        velocities: List of tensors like them.
        rate: Float32 scalar tensor, the step's size with Adam's bias correction.
        betas: Pair of floats, decay of the two moments.
        epsilon: Float.
    """
    # The kernel corrects the bias too, and puts epsilon elsewhere than Keras. After
    # infinitely many steps it has nothing left to correct.
    step = torch.full((), 1e9, device=rate.device)
    rows = list(zip(weights, gradients, momentums, velocities, strict=True))
    rows.sort(key=lambda row: str(row[0].dtype))
    for _, group in itertools.groupby(rows, key=lambda row: row[0].dtype):
        group = list(group)
        torch._fused_adamw_(
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
def scale(weights, factor):
    """Multiply weights in place.

    Args:
        weights: List of tensors.
        factor: Scalar tensor.
    """
    for weight in weights:
        weight.mul_(factor)


@torch.no_grad()
def move_towards(targets, weights, rate):
    """Move targets a share of the way to weights, in place.

    Args:
        targets: List of tensors.
        weights: List of tensors like them.
        rate: Scalar tensor, the share.
    """
    steps = torch._foreach_sub(weights, targets)
    torch._foreach_mul_(steps, rate)
    torch._foreach_add_(targets, steps)
