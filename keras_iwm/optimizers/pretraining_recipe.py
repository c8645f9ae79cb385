"""The pretraining recipe, for any number of steps and any batch size."""

from typing import Any, NamedTuple

from keras.optimizers import schedules

from keras_iwm.arguments import as_count, as_number
from keras_iwm.optimizers.adamw import AdamW


class PretrainingRecipe(NamedTuple):
    """What `pretraining_recipe` returns."""

    optimizer: AdamW
    ema_momentum: schedules.LearningRateSchedule


def pretraining_recipe(
    steps: int,
    batch_size: int,
    learning_rate: float | None = None,
    warmup_fraction: float = 40 / 300,
    weight_decay: float | tuple[float, float] = (0.04, 0.4),
    ema_momentum: float = 0.996,
    **optimizer_arguments: Any,
) -> PretrainingRecipe:
    """Return optimizer and target momentum as the I-JEPA family pretrains.

    The learning rate rises linearly from a fifth of its peak and falls on a cosine
    to a thousandth of it; the weight decay rises on a cosine; the target encoder's
    momentum rises linearly to 1 (I-JEPA, arXiv 2301.08243, which image world
    models, arXiv 2403.00504, build on).

    Args:
        steps: Positive integer, number of updates in the whole run.
        batch_size: Positive integer, images in an update.
        learning_rate: Float, the peak. Defaults to 1e-3 for a batch of 2048, and
            with the square root of the batch size for others.
        warmup_fraction: Float in [0, 1), share of the steps with a rising rate.
        weight_decay: Float; or pair of floats, at the start and at the end. A start of
            0 stands for a millionth of the end, since schedules are proportional.
        ema_momentum: Float in [0, 1], momentum of the target encoder at the start.
            A short run wants less: its target must move further per step.
        **optimizer_arguments: Passed to `AdamW`, such as
            `gradient_accumulation_steps`.

    Returns:
        Named tuple `(optimizer, ema_momentum)`, an `AdamW` and a schedule.

    Raises:
        ValueError: If an argument is not a number of its range.

    Example:

    ```python
    recipe = keras_iwm.optimizers.pretraining_recipe(steps=1000, batch_size=128)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, ema_momentum=recipe.ema_momentum
    )
    model.compile(recipe.optimizer)
    ```
    """
    steps = as_count("steps", steps)
    batch_size = as_count("batch_size", batch_size)
    if learning_rate is None:
        learning_rate = 1e-3 * (batch_size / 2048) ** 0.5
    learning_rate = as_number("learning_rate", learning_rate, 0.0, float("inf"))
    warmup_fraction = as_number(
        "warmup_fraction", warmup_fraction, 0.0, 1.0, below=True
    )
    ema_momentum = as_number("ema_momentum", ema_momentum, 0.0, 1.0)
    warmup_steps = int(warmup_fraction * steps)
    return PretrainingRecipe(
        AdamW(
            schedules.CosineDecay(
                learning_rate / 5,
                max(1, steps - warmup_steps),
                alpha=1e-3,
                warmup_target=learning_rate,
                warmup_steps=warmup_steps,
            ),
            decay_schedule(weight_decay, steps),
            **optimizer_arguments,
        ),
        schedules.PolynomialDecay(ema_momentum, steps, 1.0),
    )


def decay_schedule(weight_decay, steps):
    """The weight decay as a float, or on a cosine from the first to the second."""
    if not isinstance(weight_decay, (tuple, list)):
        return as_number("weight_decay", weight_decay, 0.0, float("inf"))
    if len(weight_decay) != 2:
        raise ValueError(
            "`weight_decay` must be a number, or a pair (at the start, at the end). "
            f"Received: {weight_decay!r}."
        )
    start, end = (
        as_number(f"weight_decay[{index}]", value, 0.0, float("inf"))
        for index, value in enumerate(weight_decay)
    )
    if start == end:
        return start
    start = start or 1e-6 * end
    return schedules.CosineDecay(start, steps, alpha=end / start)
