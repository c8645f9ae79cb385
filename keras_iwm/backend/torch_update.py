"""Updates of many weights on Torch, each in a few calls for all of them."""

import itertools

import torch

FOREACH = ("_foreach_sub", "_foreach_mul_", "_foreach_add_")


def fused_update(variables):
    """See `operations.fused_update`."""
    return update_weights


def held(variable):
    """The tensor that a variable holds, without Keras's look at scopes and devices.

    There is none in a step on Torch, and hundreds of looks take milliseconds.
    """
    value = getattr(variable, "_value", None)
    return variable.value if value is None else value


@torch.no_grad()
def update_weights(rows, rate, keep, betas, epsilon):
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
        (decayed, held(variable), gradient, held(mean), held(square))
        for decayed, variable, gradient, mean, square in rows
    ]
    for decayed, weight, *_ in rows:
        if decayed:
            weight.mul_(keep)
    rows = [tensors for _, *tensors in rows]
    rows.sort(key=lambda row: str(row[0].dtype))
    step = step_together if hasattr(torch, "_fused_adamw_") else step_each
    for _, group in itertools.groupby(rows, key=lambda row: row[0].dtype):
        columns = (list(column) for column in zip(*group, strict=True))
        step(*columns, rate, betas, epsilon)


def step_together(weights, gradients, means, squares, rate, betas, epsilon):
    """Take Adam's step in one call of a kernel that Torch keeps to itself."""
    # The kernel corrects the bias too, and puts epsilon elsewhere than Keras. After
    # infinitely many steps it has nothing left to correct.
    count = torch.full((), 1e9, device=rate.device)
    torch._fused_adamw_(
        *(weights, gradients, means, squares),
        max_exp_avg_sqs=[],
        state_steps=[count] * len(weights),
        lr=rate,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=0.0,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


def step_each(weights, gradients, means, squares, rate, betas, epsilon):
    """Take Adam's step for one weight after another, by what Torch documents."""
    for weight, gradient, mean, square in zip(
        weights, gradients, means, squares, strict=True
    ):
        mean.lerp_(gradient, 1 - betas[0])
        square.lerp_(gradient.square(), 1 - betas[1])
        weight.sub_(rate * mean / (square.sqrt() + epsilon))


@torch.no_grad()
def move_towards(variables, targets, rate):
    """Move variables a share of the way to targets, in place.

    Args:
        variables: List of `keras.Variable`.
        targets: List of tensors of their shapes.
        rate: Float32 scalar tensor, the share.
    """
    values = [held(variable) for variable in variables]
    hooked = all(hasattr(torch, name) for name in FOREACH)
    # A CPU starts no kernels: there one pass over each tensor is faster than three.
    move = move_together if hooked and not rate.is_cpu else move_each
    move(values, targets, rate)


def move_together(values, targets, rate):
    """Move all tensors in a few calls, which Torch keeps to itself."""
    steps = torch._foreach_sub(targets, values)
    torch._foreach_mul_(steps, rate)
    torch._foreach_add_(values, steps)


def move_each(values, targets, rate):
    """Move one tensor after another, by what Torch documents."""
    for value, target in zip(values, targets, strict=True):
        value.lerp_(target.to(value.dtype), rate.to(value.dtype))
