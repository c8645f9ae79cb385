"""AdamW with a scheduled weight decay."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_number, shown
from keras_iwm.backend import fused_update
from keras_iwm.type_aliases import Config, Names, Rate, Tensor

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="keras_iwm")
class AdamW(keras.optimizers.Optimizer):
    """AdamW whose weight decay may be a schedule, for the parameters that want it.

    Biases, norms, tokens and all else with a single dimension are not decayed.
    Both schedules count updates, so that accumulated gradients do not hurry them.
    A file saved on one backend goes on training on the others.

    Args:
        learning_rate: Float or a `keras.optimizers.schedules` schedule.
        weight_decay: Float or schedule, also read as the attribute `decay`; Keras's
            own attribute `weight_decay` stays `None`. `CosineDecay(0.04, steps,
            alpha=10.0)` rises from 0.04 to 0.4.
        beta_1: Float in [0, 1), decay of the first moment.
        beta_2: Float in [0, 1), decay of the second moment.
        epsilon: Positive float, added to the root of the second moment.
        learning_rate_multipliers: Optional dictionary from regular expressions to
            factors of the learning rate. A parameter takes the factor of the first
            expression that is found in its path, and 1 if there is none:
            `{r"^encoder/": 0.1}` moves an encoder a tenth as fast as the rest.
            Weight decay, which is a share of the learning rate, follows.
        name: String, the optimizer's name.
        **kwargs: Passed to `keras.optimizers.Optimizer`: `clipnorm`,
            `gradient_accumulation_steps`, ...

    Raises:
        ValueError: If an argument is not a number of its range; and when the
            optimizer meets its parameters, if an expression of
            `learning_rate_multipliers` is found in no path.

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
        learning_rate: Rate = 1e-3,
        weight_decay: Rate = 0.04,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        name: str = "adamw",
        **kwargs: Any,
    ) -> None:
        learning_rate = as_rate("learning_rate", learning_rate)
        # Keras decays by a constant and at one rate for all, so it is not asked to.
        super().__init__(learning_rate, weight_decay=None, name=name, **kwargs)
        self._schedule = learning_rate if isinstance(learning_rate, Schedule) else None
        self.decay = as_rate("weight_decay", weight_decay)
        self.beta_1 = as_number("beta_1", beta_1, 0.0, 1.0, below=True)
        self.beta_2 = as_number("beta_2", beta_2, 0.0, 1.0, below=True)
        self.epsilon = as_number("epsilon", epsilon, 1e-30, 1.0)
        self.learning_rate_multipliers = as_multipliers(learning_rate_multipliers)
        self._undecayed_names = []
        self._undecayed_paths = []

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Names | None = None,
    ) -> None:
        """Leave further parameters undecayed; those of one dimension always are.

        Args:
            var_list: List of `keras.Variable`.
            var_names: List of regular expressions, looked for in variables' names.

        Raises:
            ValueError: If the optimizer has met its parameters already.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay` must be called before the optimizer is "
                "built, which `fit` does. Received the call after it."
            )
        self._undecayed_paths += [variable.path for variable in var_list or []]
        self._undecayed_names += var_names or []

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the moments, and find out what holds for which parameter."""
        if self.built:
            return
        multipliers = self._find_multipliers([v.path for v in variables])
        self._multipliers = sorted(set(multipliers))
        self._groups = [self._multipliers.index(factor) for factor in multipliers]
        self._decayed = [self._is_decayed(variable) for variable in variables]
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"], [host_zeros, host_zeros]
        )
        known = list(variables)
        self._find_place = lambda variable: next(
            place
            for place, other in enumerate(known)
            # Keras hands over the backend's own variable on TensorFlow.
            if variable is other or variable is other.value
        )

    def _find_multipliers(self, paths):
        """Factors of the learning rate for the parameters at `paths`."""
        for pattern in self.learning_rate_multipliers:
            if not any(re.search(pattern, path) for path in paths):
                raise ValueError(
                    "Every expression of `learning_rate_multipliers` must be found in "
                    f"the path of a trainable weight. Received: {pattern!r}, found in "
                    f"none of {len(paths)}, such as {', '.join(paths[:3])}. Look at "
                    "[variable.path for variable in model.trainable_variables]."
                )
        return [
            next(
                (
                    factor
                    for pattern, factor in self.learning_rate_multipliers.items()
                    if re.search(pattern, path)
                ),
                1.0,
            )
            for path in paths
        ]

    def _is_decayed(self, variable):
        """Whether a parameter has two dimensions, and nobody has excluded it."""
        return (
            sum(side > 1 for side in variable.shape) >= 2
            and variable.path not in self._undecayed_paths
            and not any(re.search(n, variable.name) for n in self._undecayed_names)
        )

    @property
    def learning_rate(self) -> Tensor:
        """The learning rate of this update; Keras's own counts micro-steps."""
        if self._schedule is not None:
            return self._schedule(self.iterations)
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        self._schedule = value if isinstance(value, Schedule) else None

    def _shared_rates(self, learning_rate):
        """What parameters of one multiplier share, in the order of the multipliers.

        Returns:
            Tuple of pairs of float32 scalars: the learning rate with the correction of
            both moments, and the share that the weight decay keeps.
        """
        step = ops.cast(self.iterations + 1, "float32")
        unbias_1 = 1.0 - ops.power(self.beta_1, step)
        unbias_2 = 1.0 - ops.power(self.beta_2, step)
        rate = ops.cast(learning_rate, "float32")
        decay = self.decay(self.iterations) if callable(self.decay) else self.decay
        decay = rate * decay
        rate = rate * ops.sqrt(unbias_2) / unbias_1
        return tuple((rate * m, 1.0 - m * decay) for m in self._multipliers)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Update all variables, with what they share computed once.

        Without this hook of Keras, `update_step` computes it for each.
        """
        rates = self._shared_rates(learning_rate)
        update = fused_update(trainable_variables)
        if update is None:
            super()._backend_update_step(grads, trainable_variables, rates)
            return
        groups = [[] for _ in rates]
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            place = self._place_of(variable)
            moments = self._momentums[place], self._velocities[place]
            row = self._decayed[place], variable, gradient, *moments
            groups[self._groups[place]].append(row)
        for (rate, keep), rows in zip(rates, groups, strict=True):
            if rows:
                betas = self.beta_1, self.beta_2
                update(rows, rate, keep, betas, self.epsilon)

    def update_step(
        self, gradient: Tensor, variable: Any, learning_rate: Tensor
    ) -> None:
        """Update one variable.

        Args:
            gradient: Tensor.
            variable: Variable that the optimizer was built with.
            learning_rate: Scalar tensor, or what all variables share.
        """
        rates = learning_rate
        if not isinstance(rates, tuple):
            rates = self._shared_rates(learning_rate)
        place = self._place_of(variable)
        rate, keep = (ops.cast(r, variable.dtype) for r in rates[self._groups[place]])
        if self._decayed[place]:
            self.assign(variable, variable * keep)
        gradient = ops.cast(gradient, variable.dtype)
        mean, square = self._momentums[place], self._velocities[place]
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign_add(square, (ops.square(gradient) - square) * (1 - self.beta_2))
        self.assign_sub(variable, mean * rate / (ops.sqrt(square) + self.epsilon))

    def _place_of(self, variable):
        """Place of a variable among those the optimizer was built with."""
        # Only Keras knows the variables of each replica under TensorFlow's strategies.
        find = getattr(self, "_get_variable_index", self._find_place)
        return find(variable)

    def get_config(self) -> Config:
        """Return the constructor's arguments, and what was excluded from the decay."""
        decay = self.decay
        if isinstance(decay, Schedule):
            decay = keras.saving.serialize_keras_object(decay)
        config = {
            **super().get_config(),
            "weight_decay": decay,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "learning_rate_multipliers": self.learning_rate_multipliers,
        }
        if self._undecayed_names or self._undecayed_paths:
            config["undecayed"] = [self._undecayed_names, self._undecayed_paths]
        return config

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Make an optimizer from its config."""
        config = dict(config)
        names, paths = config.pop("undecayed", ([], []))
        if isinstance(config["weight_decay"], dict):
            config["weight_decay"] = keras.saving.deserialize_keras_object(
                config["weight_decay"], custom_objects=custom_objects
            )
        optimizer = super().from_config(config, custom_objects)
        optimizer._undecayed_names += names
        optimizer._undecayed_paths += paths
        return optimizer


def host_zeros(shape, dtype=None):
    """Zeros made on the host: JAX would compile a program for each shape."""
    return ops.convert_to_tensor(np.zeros(shape, "float32"), dtype=dtype)


def as_rate(name, value):
    """`value` as a float of at least 0, or the schedule that it is."""
    if isinstance(value, Schedule):
        return value
    return as_number(name, value, 0.0, float("inf"))


def as_multipliers(multipliers):
    """`learning_rate_multipliers` as a dictionary of floats."""
    checked = {}
    multipliers = {} if multipliers is None else multipliers
    if not isinstance(multipliers, dict):
        raise ValueError(
            "`learning_rate_multipliers` must be a dictionary from regular "
            f"expressions to numbers. Received: {shown(multipliers)}."
        )
    for pattern, factor in multipliers.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                "`learning_rate_multipliers` must have regular expressions as keys. "
                f"Received: {pattern!r} ({error})."
            ) from error
        name = f"learning_rate_multipliers[{pattern!r}]"
        checked[pattern] = as_number(name, factor, 0.0, float("inf"))
    return checked
