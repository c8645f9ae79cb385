"""A pretraining model whose target encoder follows its encoder."""

from typing import Any

import keras
from keras import ops

from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backend import copy_of, move_towards, take_step
from keras_iwm.models.pretraining_model import PretrainingModel
from keras_iwm.type_aliases import Config, Rate
from keras_iwm.views.image_views import ImageViews


class TeacherStudentModel(PretrainingModel):
    """Base class of methods with a target encoder, a moving average of the encoder.

    The encoder (the student) learns. The target encoder (the teacher) has no gradient:
    after every update of the optimizer it moves a little towards the student. It is
    what a user takes away. After a step that was skipped it stays where it is.
    Where the teacher has more parts than an encoder, a subclass calls `add_target`.

    The average is kept in float32 whatever the precision: steps of a thousandth are
    lost in half precision. A student with low-rank updates (`enable_lora`) is followed
    in what it computes.

    Args:
        encoder: `ViTEncoder`, the student. The teacher is made from it.
        view_generator: `ViewGenerator` for the encoder's images and grid.
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer, see `PretrainingModel`.
        has_teacher: Boolean. `False` for a method that was told to do without: the
            encoder that learns is what a user takes away.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`.
    """

    # Names of the student's parts that the teacher follows.
    target_names = ()

    def __init__(
        self,
        encoder: ViTEncoder,
        view_generator: ImageViews | None,
        ema_momentum: Rate = 0.996,
        num_classes: int | None = None,
        has_teacher: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, view_generator, num_classes, **kwargs)
        schedule = isinstance(
            ema_momentum, keras.optimizers.schedules.LearningRateSchedule
        )
        if not schedule and (
            isinstance(ema_momentum, bool)
            or not isinstance(ema_momentum, (int, float))
            or not 0 <= ema_momentum <= 1
        ):
            raise ValueError(
                "`ema_momentum` must lie in [0, 1]; near 1, such as 0.996, is usual. "
                f"Received: ema_momentum={ema_momentum!r}."
            )
        self.ema_momentum = ema_momentum
        if has_teacher:
            self.add_target("encoder")

    def add_target(self, name: str) -> None:
        """Give the teacher a part that follows a part of the student.

        Args:
            name: String, the attribute that holds the student's part, a built layer
                that its config rebuilds. The teacher's is `target_` and this name.
        """
        target = make_target(getattr(self, name))
        setattr(self, f"target_{name}", target)
        self.target_names = (*self.target_names, name)
        self.reset_target_encoder()
        # Not through the setter, which would also unfreeze an encoder that came frozen.
        target.trainable = False

    @property
    def has_teacher(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.target_names)

    @property
    def feature_encoder(self) -> ViTEncoder:
        """The target encoder, where there is one."""
        return self.target_encoder if self.has_teacher else self.encoder

    @property
    def trainable(self) -> bool:
        """Whether the model learns. The teacher never does."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        for target, _ in self._targets():
            target.trainable = False

    def reset_target_encoder(self) -> None:
        """Copy the student's weights into the teacher, of all of its parts.

        To be called after weights have been loaded into `encoder` alone.
        """
        # A copy: an assignment would share the buffer on JAX.
        self._pair_weights()
        for target, weight in self._followed_values():
            target.assign(copy_of(ops.cast(weight, "float32")))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        momentum = keras.saving.serialize_keras_object(self.ema_momentum)
        return {**super().get_config(), "ema_momentum": momentum}

    def train_step(self, *arguments: Any) -> Any:
        """Take a step, then move the target encoder if there was an update."""
        if not self.has_teacher:
            return super().train_step(*arguments)
        return take_step(
            self,
            super().train_step,
            arguments,
            before=self._count_updates,
            after=self._move_target_encoder,
        )

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
        targets, weights = zip(*self._followed_values(), strict=True)
        move_towards(targets, weights, rate)

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function that `fit` runs, for the weights that are there now."""
        self._pair_weights()
        return super().make_train_function(force)

    def _pair_weights(self):
        """Note what each of the teacher's weights follows.

        To find the pairs takes longer than to move them, so a step is not the place.
        """
        pairs = []
        layers = [
            pair
            for parts in self._targets()
            for pair in zip(*(part._flatten_layers() for part in parts), strict=True)
        ]
        for target, layer in layers:
            own = own_weights(layer)
            for name, variable in own_weights(target).items():
                if name == "kernel" and getattr(layer, "lora_enabled", False):
                    # Low-rank updates are in the kernel the student computes with.
                    pairs.append((variable, lambda layer=layer: layer.kernel))
                else:
                    pairs.append((variable, lambda weight=own[name]: weight.value))
        # A function, which Keras does not take for a part of the model.
        self._followed_values = lambda: [(target, read()) for target, read in pairs]

    def _targets(self):
        """The parts of the teacher, each with the student's that it follows."""
        names = self.target_names
        return [(getattr(self, f"target_{n}"), getattr(self, n)) for n in names]


def own_weights(layer):
    """A layer's own weights, without those of layers inside, by name."""
    inside = {id(w) for part in layer._layers for w in part.weights}
    return {w.name: w for w in layer.weights if id(w) not in inside}


def make_target(part):
    """Make a layer like another one whose average is kept in float32."""
    config = {**part.get_config(), "name": f"target_{part.name}"}
    config.pop("part_changes", None)
    half = part.dtype_policy.variable_dtype
    if half in ("bfloat16", "float16"):
        config["dtype"] = f"mixed_{half}"
    return type(part).from_config(config)
