"""What all pretraining methods share."""

import warnings
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.arguments import as_boolean, as_object
from keras_iwm.backbones.presets import (
    PRESETS,
    check_no_changes,
    is_size,
    preset_path,
)
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.layers.online_probe import OnlineProbe
from keras_iwm.models.preset_arguments import preset_arguments
from keras_iwm.models.trained_model import TrainedModel
from keras_iwm.type_aliases import Config, Path, Tensor, ValueRange
from keras_iwm.views.image_views import ImageViews


class PretrainingModel(TrainedModel):
    """Base class of methods that learn an encoder from images without labels.

    A method is one subclass in one file. It has an `encoder`, which learns, and says
    with `feature_encoder` what a user takes away; it makes views from images with its
    `view_generator`, and has its own `call` and `method_loss`. Everything that is
    measured or reused of a model asks `feature_encoder`, and `predictor` and
    `action_space` where there are any.

    `compile` takes an optimizer and no loss, and `fit` takes images, from any
    pipeline; labels feed nothing but the online probe. What the method has no use for
    is refused. Losses of the layers themselves, such as those of a regularizer, are
    added to the method's.

    Args:
        encoder: `ViTEncoder`, which learns.
        view_generator: `ViewGenerator` for the encoder's images and grid, or `None` for
            a method that makes no views.
        num_classes: Optional integer. If given, `fit` takes integer labels too and
            trains a linear probe on pooled features, behind a stopped gradient; its
            accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`.
    """

    ignored_arguments = ("class_weight", "sample_weight")
    # Whether it learns from views, and so has a view generator.
    makes_views = True
    # How the names of the method's sizes begin.
    preset_prefixes = ()
    # What `from_preset` takes beside the arguments of `ViTEncoder` and `from_encoder`.
    view_arguments = ()

    def __init__(
        self,
        encoder: ViTEncoder,
        view_generator: ImageViews | None,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Views are float32 whatever the precision: nothing is cast on the way in.
        super().__init__(autocast=False, **kwargs)
        check_views(encoder, view_generator, self.makes_views)
        self.encoder = encoder
        self.view_generator = view_generator
        self.num_classes = num_classes
        self.probe = None
        if num_classes is not None:
            self.probe = OnlineProbe(num_classes, name="probe")
            self.probe.build((None, encoder.hidden_dim))

    @property
    def feature_encoder(self) -> ViTEncoder:
        """The encoder that a user takes away."""
        return self.encoder

    @property
    def action_space(self) -> ActionSpace | Any:
        """`ActionSpace`, the operations that views differ by, or `None`."""
        return getattr(self.view_generator, "action_space", None)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of the views."""
        return self.encoder.image_size

    @property
    def num_channels(self) -> int:
        """Channels of the images."""
        return self.encoder.num_channels

    @property
    def num_patches(self) -> int:
        """Number of patches of an image."""
        return self.encoder.num_patches

    @property
    def value_range(self) -> ValueRange:
        """Range of the images' pixel values."""
        return self.encoder.value_range

    @classmethod
    def from_preset(
        cls, preset: Path, load_weights: bool = True, **arguments: Any
    ) -> Self:
        """Load a pretrained model, or make an untrained one of a named size.

        Args:
            preset: String. A folder that `save_to_preset` has written, or the name of
                a size that comes with weights. Or, for `load_weights=False`, a name of
                `keras_iwm.backbones.PRESETS` that is of this method.
            load_weights: Boolean. If `False`, the model starts at random.
            **arguments: Of a named size without weights, what to change: arguments of
                `ViTEncoder` and of the method's `from_encoder`.

        Returns:
            A model of this class.

        Raises:
            ValueError: If there is no such preset or it has no weights, its folder is
                refused, or an argument cannot apply to it.
        """
        if as_boolean("load_weights", load_weights) or not is_size(preset):
            path = preset_path(preset)
            check_no_changes(preset, load_weights, arguments)
            return super().from_preset(path, load_weights)
        if not preset.startswith(cls.preset_prefixes):
            names = tuple(n for n in PRESETS if n.startswith(cls.preset_prefixes))
            raise ValueError(
                f"`preset` must be a size of a {cls.__name__}: {names}. Received: "
                f"{preset!r}, of another method. Ask that method's class for it."
            )
        with warnings.catch_warnings():
            if not {"image_size", "patch_size"} & set(arguments):
                warnings.simplefilter("ignore")  # the preset's own grid is meant
            return cls.from_encoder(**cls.preset_arguments(preset, arguments))

    @classmethod
    def preset_arguments(cls, preset: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return preset_arguments(preset, arguments)

    def forward_passes(self) -> list[tuple[Any, dict[str, Any]]]:
        """Say what runs for one image of a batch in training.

        Returns:
            List of pairs of a part and a dictionary, for each time that it runs: what
            `flops_per_image` is to be told of it.
        """
        raise NotImplementedError(f"{type(self).__name__} must say `forward_passes`.")

    def compile(self, optimizer: Any = "rmsprop", **kwargs: Any) -> None:
        """Compile with an optimizer; the loss is the method's own.

        Args:
            optimizer: Optimizer, such as `keras_iwm.optimizers.AdamW`.
            **kwargs: Passed to `keras.Model.compile`: `run_eagerly`,
                `steps_per_execution`, `jit_compile`, `auto_scale_loss`.

        Raises:
            ValueError: If a loss or metrics are given, which would not be used.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"`{name}` is not used: a {type(self).__name__} has its own loss "
                    f"and knows no labels. Received: {name}={kwargs[name]!r}. Call "
                    "`compile` with an optimizer alone, and make the model with "
                    "`num_classes` for the accuracy of a probe."
                )
        super().compile(optimizer, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Refuse to export what makes views at random; its parts are what serves."""
        raise ValueError(
            f"A {type(self).__name__} makes views at random and is not exported. Serve "
            "what it has learned: model.feature_encoder.export(filepath, format), or "
            "the answer to an image and an action: keras_iwm.downstream.LatentPredictor"
            ".from_world_model(model).export(filepath, format)."
        )

    def make_views(
        self, inputs: Any, training: bool | None = None
    ) -> dict[str, Tensor]:
        """Return views made from images, or the views that came."""
        if not isinstance(inputs, dict):
            return self.view_generator(inputs, training=training)
        keys = self.view_generator.keys
        if not set(keys) <= set(inputs):
            raise ValueError(
                f"`x` must be images, or a dictionary of views {keys}. Received a "
                f"dictionary with the keys {sorted(inputs)}. Pass the images alone, or "
                'with labels as a pair: dataset.map(lambda d: (d["image"], '
                'd["label"])).'
            )
        return inputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the method's loss and the layers' own; of a probe its gradient."""
        loss = self.method_loss(y_pred)
        if self.losses:
            loss = loss + super().compute_loss(x)
        if self.probe is not None:
            if y is None:
                raise ValueError(
                    "A model with `num_classes` needs labels for its probe. Pass "
                    "(images, labels), or leave `num_classes` out."
                )
            loss = loss + self.probe.gradient_alone(y, y_pred["probe_logits"])
        return loss

    def method_loss(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return the loss of what `call` returned, from a `keras.losses.Loss`.

        Replicas of a model would scale a plain mean wrongly.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `method_loss`.")

    def probe_outputs(self, latents: Tensor) -> dict[str, Tensor]:
        """Return `"probe_logits"` from latents, if there is a probe."""
        if self.probe is None:
            return {}
        features = normalize_latents(ops.mean(ops.stop_gradient(latents), axis=1))
        return {"probe_logits": self.probe(features)}

    def check_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, name: str = "x"
    ) -> None:
        """Refuse images and labels that cannot be meant, see `TrainedModel`."""
        if isinstance(x, dict):
            x = self.make_views(x)[self.view_generator.keys[0]]
        super().check_batch(x, y, sample_weight, name)
        if sample_weight is not None:
            raise ValueError(
                f"Weights of samples are not used by a {type(self).__name__}. Received "
                "them beside the images. Leave them out."
            )
        if self.probe is not None and y is not None:
            self.probe.check_labels(np.asarray(ops.convert_to_numpy(y)))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "view_generator": keras.saving.serialize_keras_object(self.view_generator),
            "num_classes": self.num_classes,
        }


def check_views(encoder, view_generator, makes_views):
    """Refuse views that the encoder was not made for."""
    facts = ("image_size", "num_channels", "value_range")
    needed = (*facts, "grid_size", "hidden_dim")
    as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
    if not makes_views:
        return
    needed = (*facts, "keys")
    as_object("view_generator", view_generator, needed, "a ViewGenerator")
    check_facts(
        ("view_generator.image_size", view_generator.image_size, encoder.image_size),
        (
            "view_generator.num_channels",
            view_generator.num_channels,
            encoder.num_channels,
        ),
        ("view_generator.value_range", view_generator.value_range, encoder.value_range),
    )
    mask = getattr(view_generator, "mask", None)
    if mask is not None:
        grid_size = ("view_generator.mask.grid_size", mask.grid_size)
        check_facts((*grid_size, encoder.grid_size))


def check_facts(*facts):
    """Refuse parts that differ from the encoder in a fact.

    Args:
        *facts: Triples of a name, the value received and the encoder's.
    """
    for name, received, expected in facts:
        if received != expected:
            raise ValueError(
                f"`{name}` must be {expected} as the encoder's. Received: {received}."
            )
