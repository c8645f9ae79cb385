"""AdamW with a scheduled weight decay."""

import re

import keras
from keras import ops

if keras.backend.backend() == "torch":
    from keras_iwm.backend import torch_update


@keras.saving.register_keras_serializable(package="keras_iwm")
class AdamW(keras.optimizers.AdamW):
    """AdamW whose weight decay may be a schedule, for the parameters that want it.

    Biases, norms, tokens and all else with a single dimension are not decayed.
    Both schedules count updates, so that accumulated gradients do not hurry them.
    A file saved on one backend goes on training on the others.

    Args:
        learning_rate: Float or a `keras.optimizers.schedules` schedule.
        weight_decay: Float or schedule. `CosineDecay(0.04, steps, alpha=10.0)`
            rises from 0.04 to 0.4.
        beta_1: Float in [0, 1), decay of the first moment.
        beta_2: Float in [0, 1), decay of the second moment.
        epsilon: Float, added to the root of the second moment.
        learning_rate_multipliers: Optional dictionary from regular expressions to
            factors of the learning rate. A parameter takes the factor of the first
            expression that is found in its path, and 1 if there is none:
            `{r"^encoder/": 0.1}` moves an encoder a tenth as fast as the rest.
            Weight decay, which is a share of the learning rate, follows.
        **kwargs: Passed to `keras.optimizers.AdamW`.

    Example:

    ```python
    optimizer = keras_iwm.optimizers.AdamW(
        learning_rate=1e-3,
        weight_decay=keras.optimizers.schedules.CosineDecay(0.04, 1000, alpha=10.0),
    )
    ```
    """

    def __init__(
        self,
        learning_rate=1e-3,
        weight_decay=0.04,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        learning_rate_multipliers=None,
        **kwargs,
    ):
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            **kwargs,
        )
        self.learning_rate_multipliers = dict(learning_rate_multipliers or {})

    def build(self, var_list):
        """Create the moments and leave single-dimension parameters undecayed."""
        if not self.built:
            self.exclude_from_weight_decay(
                var_list=[
                    variable
                    for variable in var_list
                    if sum(side > 1 for side in variable.shape) < 2
                ]
            )
        super().build(var_list)
        self._multipliers = [self._multiplier_of(v.path) for v in var_list]

    def _multiplier_of(self, path):
        """Factor of the learning rate for the parameter at `path`."""
        for pattern, factor in self.learning_rate_multipliers.items():
            if re.search(pattern, path):
                return float(factor)
        return 1.0

    def _by_multiplier(self, variables):
        """Variables in groups of one factor: a dictionary from factors to indices."""
        groups = {}
        for index, variable in enumerate(variables):
            factor = self._multipliers[self._get_variable_index(variable)]
            groups.setdefault(factor, []).append(index)
        return groups

    def _apply_weight_decay(self, variables):
        """Shrink the decayed parameters, the factor computed once for all."""
        decay = self.weight_decay
        if isinstance(decay, keras.optimizers.schedules.LearningRateSchedule):
            decay = decay(self.iterations)
        rate = ops.cast(self.learning_rate, "float32") * decay
        decayed = [v for v in variables if self._use_weight_decay(v)]
        for multiplier, indices in self._by_multiplier(decayed).items():
            factor = 1.0 - multiplier * rate
            group = [decayed[index] for index in indices]
            if keras.backend.backend() == "torch":
                torch_update.scale([variable.value for variable in group], factor)
                continue
            for variable in group:
                variable.assign(variable.value * ops.cast(factor, variable.dtype))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Update all variables, with what they share computed once."""
        if self.amsgrad:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        step = ops.cast(self.iterations + 1, "float32")
        unbias_1 = 1.0 - ops.power(self.beta_1, step)
        unbias_2 = 1.0 - ops.power(self.beta_2, step)
        rate = ops.cast(learning_rate, "float32") * ops.sqrt(unbias_2) / unbias_1
        if keras.backend.backend() != "torch":
            super()._backend_update_step(grads, trainable_variables, rate)
            return
        for multiplier, chosen in self._by_multiplier(trainable_variables).items():
            variables = [trainable_variables[index] for index in chosen]
            indices = [self._get_variable_index(v) for v in variables]
            torch_update.update(
                [variable.value for variable in variables],
                [grads[index] for index in chosen],
                [self._momentums[index].value for index in indices],
                [self._velocities[index].value for index in indices],
                rate * multiplier,
                (self.beta_1, self.beta_2),
                self.epsilon,
            )

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable at its own learning rate.

        But for `amsgrad`, `learning_rate` holds the correction of the moments already.
        """
        index = self._get_variable_index(variable)
        multiplier = self._multipliers[index]
        if multiplier != 1.0:
            learning_rate = learning_rate * multiplier
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1 - self.beta_2))
        step = mean * ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, step / (ops.sqrt(square) + self.epsilon))

    def _get_current_learning_rate(self):
        """Return the learning rate of this update; Keras's own counts micro-steps."""
        schedule = self._learning_rate
        if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return schedule(self.iterations)
        return super()._get_current_learning_rate()

    def get_config(self):
        """Return the constructor's arguments."""
        config = super().get_config()
        config["learning_rate_multipliers"] = self.learning_rate_multipliers
        if not isinstance(self.weight_decay, (int, float)):
            config["weight_decay"] = keras.saving.serialize_keras_object(
                self.weight_decay
            )
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make an optimizer from its config."""
        config = dict(config)
        if isinstance(config["weight_decay"], dict):
            config["weight_decay"] = keras.saving.deserialize_keras_object(
                config["weight_decay"], custom_objects=custom_objects
            )
        return super().from_config(config, custom_objects)
