"""Learning rates that cannot be meant."""

import math

import keras
from keras import ops


def check_learning_rate(optimizer, num_steps):
    """Refuse a learning rate that is not finite at the begin or the end of a run.

    A step in between is skipped if its rate is not finite.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        num_steps: Integer, steps of the run, or 0 if that is not known.

    Raises:
        ValueError: If the optimizer's rate is not finite, or its schedule's.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rates = {"now": optimizer.learning_rate}
    schedule = getattr(optimizer, "_learning_rate", None)
    if num_steps and isinstance(
        schedule, keras.optimizers.schedules.LearningRateSchedule
    ):
        last = optimizer.iterations + (num_steps - 1)
        rates["at the last step"] = schedule(last)
    for when, rate in rates.items():
        rate = float(ops.convert_to_numpy(rate))
        if not math.isfinite(rate):
            raise ValueError(
                f"`learning_rate` of the optimizer must be finite. Received: {rate} "
                f"{when}. Compile with another rate or schedule."
            )
