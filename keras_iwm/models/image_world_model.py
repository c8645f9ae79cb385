"""The image world model: what is fitted."""

import keras
from keras import ops

from keras_iwm.backbones.presets import build_from_preset
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.teacher_student_model import TeacherStudentModel

VIEW_KEYS = ("source", "target", "action", "context_ids", "target_ids")


@keras.saving.register_keras_serializable(package="keras_iwm")
class ImageWorldModel(TeacherStudentModel):
    """Joint-embedding predictive model that learns what transformations do.

    The encoder (the student) sees the visible patches of the source view; the
    predictor is told the action and predicts, at the masked positions, what the
    target encoder (the teacher) makes of the target view. The teacher has no
    gradient: it is an exponential moving average of the student (image world
    models, arXiv 2403.00504, section 3). With no transforms, conditioning
    `"none"` and masks with separate blocks it is I-JEPA (arXiv 2301.08243).

    `compile` it with an optimizer alone and `fit` it on images: the loss is the
    mean squared difference between prediction and target, and labels, if there
    are any, feed nothing but the online probe.

    Args:
        encoder: `ViTEncoder`, the student. The teacher is made from it.
        predictor: `WorldModelPredictor` for the encoder's grid and width.
        view_generator: `ViewGenerator` for the encoder's grid and image size.
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer. If given, `fit` takes integer labels too
            and trains a linear probe on the teacher's pooled latents of the
            target view, behind a stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Tensor of images of shape `(batch_size, height, width, 3)`, or a
            dictionary of views with the keys `"source"`, `"target"`, `"action"`,
            `"context_ids"` and `"target_ids"` as the view generator makes it.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, num_targets, hidden_dim)` (with separate blocks
        `(batch_size, num_blocks, num_targets, hidden_dim)`), and
        `"probe_logits"` of shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other, or the views are
            incomplete.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    latents = model.encoder.predict(images)  # (16, 16, 96)
    ```
    """

    def __init__(
        self,
        encoder,
        predictor,
        view_generator,
        ema_momentum=0.996,
        num_classes=None,
        **kwargs,
    ):
        trainable = kwargs.pop("trainable", True)
        # Views are float32 whatever the precision: nothing is cast on the way in.
        super().__init__(autocast=False, **kwargs)
        check_parts(encoder, predictor, view_generator)
        if isinstance(ema_momentum, (int, float)) and not 0 <= ema_momentum <= 1:
            raise ValueError(
                "`ema_momentum` must lie in [0, 1]; near 1, such as 0.996, is usual. "
                f"Received: ema_momentum={ema_momentum}."
            )
        self.encoder = encoder
        self.predictor = predictor
        self.view_generator = view_generator
        self.ema_momentum = ema_momentum
        self.num_classes = num_classes
        self.target_encoder = type(encoder).from_config(
            {**encoder.get_config(), "name": "target_encoder"}
        )
        self.reset_target_encoder()
        self.latent_loss = keras.losses.MeanSquaredError(
            name="latent_loss", dtype="float32"
        )
        if num_classes is not None:
            self.probe = keras.layers.Dense(
                num_classes, kernel_initializer="zeros", dtype="float32", name="probe"
            )
            self.probe.build((None, encoder.hidden_dim))
            self.probe_loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, name="probe_loss", dtype="float32"
            )
            self.probe_accuracy = keras.metrics.SparseCategoricalAccuracy(
                name="probe_accuracy"
            )
        self.built = True
        # Not through the setter, which would also unfreeze an encoder that came frozen.
        self.target_encoder.trainable = False
        if not trainable:
            self.trainable = False

    @classmethod
    def from_preset(cls, preset, **overrides):
        """Make an untrained model from a named preset.

        Args:
            preset: String, one of `keras_iwm.backbones.presets.PRESETS`.
            **overrides: What to change: `conditioning`, `jitter_strength`,
                `jitter_probability`, `image_size`, `patch_size`, `value_range`,
                `predictor_layers`, `ema_momentum`, `num_classes`,
                `drop_path_rate`, `remat`, `seed`, `dtype`.

        Returns:
            An `ImageWorldModel`.

        Raises:
            ValueError: If there is no such preset or no such override.
        """
        return build_from_preset(cls, preset, **overrides)

    @property
    def image_size(self):
        """Height and width in pixels of the views."""
        return self.encoder.image_size

    @property
    def num_patches(self):
        """Number of patches of an image."""
        return self.encoder.num_patches

    @property
    def value_range(self):
        """Range of the images' pixel values."""
        return self.encoder.value_range

    @property
    def trainable(self):
        """Whether student and predictor learn. The teacher never does."""
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.Model.trainable.fset(self, value)
        if hasattr(self, "target_encoder"):
            self.target_encoder.trainable = False

    def reset_target_encoder(self):
        """Copy the encoder's weights into the target encoder.

        To be called after weights have been loaded into `encoder` alone.
        """
        # Through the host: an assignment would share the buffer on JAX.
        self.target_encoder.set_weights(self.encoder.get_weights())

    def null_action(self, batch_size):
        """Return the action that changes nothing, zeros `(batch_size, action_dim)`."""
        return ops.zeros((batch_size, self.view_generator.action_dim))

    def call(self, inputs, training=None):
        """Predict the target latents of views, or of views made from images."""
        views = inputs
        if not isinstance(inputs, dict):
            views = self.view_generator(inputs, training=training)
        missing = [key for key in VIEW_KEYS if key not in views]
        if missing:
            raise ValueError(
                f"A dictionary of views must have the keys {VIEW_KEYS}. Missing: "
                f"{missing}. Pass plain images to have the views made."
            )
        target_ids = ops.convert_to_tensor(views["target_ids"])
        context = self.encoder(
            views["source"], patch_ids=views["context_ids"], training=training
        )
        prediction = self.predictor(
            context,
            views["context_ids"],
            target_ids,
            views["action"],
            training=training,
        )
        latents = ops.stop_gradient(
            normalize_latents(self.target_encoder(views["target"], training=False))
        )
        flat_ids = ops.reshape(target_ids, (ops.shape(target_ids)[0], -1, 1))
        target = ops.take_along_axis(latents, flat_ids, axis=1)
        prediction = ops.cast(prediction, "float32")
        outputs = {
            "prediction": prediction,
            "target": ops.reshape(target, ops.shape(prediction)),
        }
        if self.num_classes is not None:
            outputs["probe_logits"] = self.probe(
                normalize_latents(ops.mean(latents, axis=1))
            )
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the latent prediction loss; with a probe, its gradient too."""
        loss = self.latent_loss(y_pred["target"], y_pred["prediction"])
        if self.num_classes is not None:
            if y is None:
                raise ValueError(
                    "A model with `num_classes` needs labels for its probe. Pass "
                    "(images, labels), or leave `num_classes` out."
                )
            probe_loss = self.probe_loss(y, y_pred["probe_logits"])
            self.probe_accuracy.update_state(y, y_pred["probe_logits"])
            # The probe is trained without showing in the loss that is watched.
            loss = loss + probe_loss - ops.stop_gradient(probe_loss)
        return loss

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "predictor": keras.saving.serialize_keras_object(self.predictor),
            "view_generator": keras.saving.serialize_keras_object(self.view_generator),
            "ema_momentum": keras.saving.serialize_keras_object(self.ema_momentum),
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config):
        """Make a model from its config."""
        config = dict(config)
        for key in ("encoder", "predictor", "view_generator", "ema_momentum"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


def check_parts(encoder, predictor, view_generator):
    """Refuse parts that were not made for each other."""
    facts = (
        ("predictor.grid_size", predictor.grid_size, encoder.grid_size),
        ("predictor.hidden_dim", predictor.hidden_dim, encoder.hidden_dim),
        (
            "view_generator.mask.grid_size",
            tuple(view_generator.mask.grid_size),
            encoder.grid_size,
        ),
        (
            "view_generator.image_size",
            tuple(view_generator.image_size),
            encoder.image_size,
        ),
        (
            "view_generator.value_range",
            tuple(view_generator.value_range),
            encoder.value_range,
        ),
    )
    for name, received, expected in facts:
        if received != expected:
            raise ValueError(
                f"`{name}` must be {expected} as the encoder's. Received: {received}."
            )
    if predictor.conditioning != "none" and (
        predictor.action_dim != view_generator.action_dim
    ):
        raise ValueError(
            "`predictor.action_dim` must be the view generator's "
            f"{view_generator.action_dim}. Received: {predictor.action_dim}."
        )
