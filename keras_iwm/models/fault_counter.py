"""Counts train steps that were skipped."""

import keras
from keras import ops


class FaultCounter(keras.metrics.Metric):
    """Counts the train steps in a row that were skipped, and knows the last good loss.

    A metric, so that every backend carries it through the step and no file holds it.
    It has no result: a column of zeros in every log would tell nobody anything. Unlike
    other metrics it counts on from epoch to epoch.
    """

    def __init__(self, name="faults"):
        super().__init__(dtype="float32", name=name)
        arguments = {"shape": (), "aggregation": "mean"}  # replicas have the same
        self.in_a_row = self.add_variable(
            initializer="zeros", name="in_a_row", **arguments
        )
        # Not NaN: JAX compares what several hosts begin with.
        nothing = keras.initializers.Constant(float("inf"))
        self.last_loss = self.add_variable(
            initializer=nothing, name="last_loss", **arguments
        )

    def update_state(self, finite, loss):
        """Count a step.

        Args:
            finite: Boolean, or scalar boolean tensor: whether it was taken.
            loss: Scalar tensor, its loss.
        """
        loss = ops.cast(loss, "float32")
        self.in_a_row.assign(ops.where(finite, 0.0, self.in_a_row.value + 1.0))
        self.last_loss.assign(ops.where(ops.isfinite(loss), loss, self.last_loss.value))

    def result(self):
        """Return nothing for the logs."""
        return {}

    def reset_state(self):
        """Count on: faults in a row may go beyond an epoch."""

    def restart(self):
        """Forget the steps of an earlier run."""
        self.in_a_row.assign(0.0)
