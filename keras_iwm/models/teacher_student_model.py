"""The train step that moves a target encoder, on one device or many."""

import keras
from keras import ops

from keras_iwm.models.trained_model import TrainedModel

if keras.backend.backend() == "torch":
    from keras_iwm.backend import torch_update


class TeacherStudentModel(TrainedModel):
    """A Keras model whose target encoder follows its encoder after every update.

    Subclasses have `encoder`, `target_encoder` and `ema_momentum`. Keras's own
    step does everything else, so gradients, mixed precision, loss scaling,
    accumulation and distribution stay Keras's.
    """

    if keras.backend.backend() == "jax":

        def train_step(self, state, data):
            """Take Keras's step, then move the target encoder in the new state."""
            with keras.StatelessScope(
                zip(self.optimizer.variables, state[2], strict=False)
            ):
                iterations = self._count_updates()
            logs, state = super().train_step(state, data)
            trainable, non_trainable, optimizer, metrics = state
            mapping = [
                *zip(self.trainable_variables, trainable, strict=True),
                *zip(self.non_trainable_variables, non_trainable, strict=True),
                *zip(self.optimizer.variables, optimizer, strict=True),
            ]
            with keras.StatelessScope(mapping) as scope:
                self._move_target_encoder(iterations)
            non_trainable = [
                scope.get_current_value(variable)
                for variable in self.non_trainable_variables
            ]
            return logs, (trainable, non_trainable, optimizer, metrics)

    else:

        def train_step(self, data):
            """Take Keras's step, then move the target encoder."""
            iterations = self._count_updates()
            logs = super().train_step(data)
            self._move_target_encoder(iterations)
            return logs

    def _count_updates(self):
        """Number of updates the optimizer has made, as a value of its own.

        A step that only accumulates gradients, or that loss scaling skips, is none.
        """
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        return optimizer.iterations + 0

    def _move_target_encoder(self, iterations):
        """Move the target encoder if the optimizer has made an update since."""
        momentum = self.ema_momentum
        if isinstance(momentum, keras.optimizers.schedules.LearningRateSchedule):
            momentum = momentum(iterations)
        updated = self._count_updates() > iterations
        rate = ops.where(updated, 1.0 - ops.cast(momentum, "float32"), 0.0)
        pairs = list(
            zip(self.target_encoder.weights, self.encoder.weights, strict=True)
        )
        if keras.backend.backend() == "torch":
            torch_update.move_towards(
                [target.value for target, _ in pairs],
                [weight.value for _, weight in pairs],
                rate,
            )
            return
        for target, weight in pairs:
            step = ops.cast(rate, target.dtype) * (
                ops.stop_gradient(weight.value) - target.value
            )
            target.assign(target.value + step)
