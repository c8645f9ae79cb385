"""What all pretraining methods share."""

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_object
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.layers.online_probe import OnlineProbe
from keras_iwm.models.trained_model import TrainedModel
from keras_iwm.views.view_generator import VIEW_KEYS


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
        view_generator: `ViewGenerator` for the encoder's images and grid.
        num_classes: Optional integer. If given, `fit` takes integer labels too and
            trains a linear probe on pooled features, behind a stopped gradient; its
            accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`.
    """

    ignored_arguments = ("class_weight", "sample_weight")

    def __init__(self, encoder, view_generator, num_classes=None, **kwargs):
        # Views are float32 whatever the precision: nothing is cast on the way in.
        super().__init__(autocast=False, **kwargs)
        check_views(encoder, view_generator)
        self.encoder = encoder
        self.view_generator = view_generator
        self.num_classes = num_classes
        self.probe = None
        if num_classes is not None:
            self.probe = OnlineProbe(num_classes, name="probe")
            self.probe.build((None, encoder.hidden_dim))

    @property
    def feature_encoder(self):
        """The encoder that a user takes away."""
        return self.encoder

    @property
    def action_space(self):
        """`ActionSpace`, the operations that views differ by."""
        return self.view_generator.action_space

    @property
    def image_size(self):
        """Height and width in pixels of the views."""
        return self.encoder.image_size

    @property
    def num_channels(self):
        """Channels of the images."""
        return self.encoder.num_channels

    @property
    def num_patches(self):
        """Number of patches of an image."""
        return self.encoder.num_patches

    @property
    def value_range(self):
        """Range of the images' pixel values."""
        return self.encoder.value_range

    def compile(self, optimizer="rmsprop", **kwargs):
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

    def export(self, *args, **kwargs):
        """Refuse to export what makes views at random; its parts are what serves."""
        raise ValueError(
            f"A {type(self).__name__} makes views at random and is not exported. Serve "
            "what it has learned: model.feature_encoder.export(filepath, format), or "
            "the answer to an image and an action: keras_iwm.downstream.LatentPredictor"
            ".from_world_model(model).export(filepath, format)."
        )

    def make_views(self, inputs, training=None):
        """Return views made from images, or the views that came."""
        if not isinstance(inputs, dict):
            return self.view_generator(inputs, training=training)
        missing = [key for key in VIEW_KEYS if key not in inputs]
        if missing:
            raise ValueError(
                f"`x` must be images, or a dictionary of views {VIEW_KEYS}. Received a "
                f"dictionary with the keys {sorted(inputs)}. Pass the images alone, or "
                'with labels as a pair: dataset.map(lambda d: (d["image"], '
                'd["label"])).'
            )
        return inputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
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

    def method_loss(self, outputs):
        """Return the loss of what `call` returned, from a `keras.losses.Loss`.

        Replicas of a model would scale a plain mean wrongly.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `method_loss`.")

    def probe_outputs(self, latents):
        """Return `"probe_logits"` from latents, if there is a probe."""
        if self.probe is None:
            return {}
        features = normalize_latents(ops.mean(ops.stop_gradient(latents), axis=1))
        return {"probe_logits": self.probe(features)}

    def check_batch(self, x, y=None, sample_weight=None, name="x"):
        """Refuse images and labels that cannot be meant, see `TrainedModel`."""
        if isinstance(x, dict):
            x = self.make_views(x)["source"]
        super().check_batch(x, y, sample_weight, name)
        if sample_weight is not None:
            raise ValueError(
                f"Weights of samples are not used by a {type(self).__name__}. Received "
                "them beside the images. Leave them out."
            )
        if self.probe is not None and y is not None:
            self.probe.check_labels(np.asarray(ops.convert_to_numpy(y)))

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "view_generator": keras.saving.serialize_keras_object(self.view_generator),
            "num_classes": self.num_classes,
        }


def check_views(encoder, view_generator):
    """Refuse views that the encoder was not made for."""
    facts = ("image_size", "num_channels", "value_range")
    needed = (*facts, "grid_size", "hidden_dim")
    as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
    needed = (*facts, "mask", "action_space")
    as_object("view_generator", view_generator, needed, "a ViewGenerator")
    check_facts(
        ("view_generator.image_size", view_generator.image_size, encoder.image_size),
        (
            "view_generator.num_channels",
            view_generator.num_channels,
            encoder.num_channels,
        ),
        ("view_generator.value_range", view_generator.value_range, encoder.value_range),
        (
            "view_generator.mask.grid_size",
            view_generator.mask.grid_size,
            encoder.grid_size,
        ),
    )


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
