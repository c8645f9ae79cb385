"""The pretraining recipe, for any number of steps and any batch size."""

import collections

from keras.optimizers import schedules

from keras_iwm.optimizers.adamw import AdamW

PretrainingRecipe = collections.namedtuple(
    "PretrainingRecipe", ("optimizer", "ema_momentum")
)


def pretraining_recipe(
    steps,
    batch_size,
    learning_rate=None,
    warmup_fraction=40 / 300,
    weight_decay=(0.04, 0.4),
    ema_momentum=0.996,
    **optimizer_arguments,
):
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
        weight_decay: Pair of floats, at the start and at the end.
        ema_momentum: Float in [0, 1], momentum of the target encoder at the start.
            A short run wants less: its target must move further per step.
        **optimizer_arguments: Passed to `AdamW`, such as
            `gradient_accumulation_steps`.

    Returns:
        Named tuple `(optimizer, ema_momentum)`, an `AdamW` and a schedule.

    Raises:
        ValueError: If `steps` or `batch_size` is not positive.

    Example:

    ```python
    recipe = keras_iwm.optimizers.pretraining_recipe(steps=1000, batch_size=128)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", ema_momentum=recipe.ema_momentum
    )
    model.compile(recipe.optimizer)
    ```
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if int(value) != value or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}."
            )
    if learning_rate is None:
        learning_rate = 1e-3 * (batch_size / 2048) ** 0.5
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
            schedules.CosineDecay(
                weight_decay[0], steps, alpha=weight_decay[1] / weight_decay[0]
            ),
            **optimizer_arguments,
        ),
        schedules.PolynomialDecay(ema_momentum, steps, 1.0),
    )
