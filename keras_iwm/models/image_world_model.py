"""The image world model."""

import keras
from keras import ops

from keras_iwm.arguments import as_boolean, as_choice, as_object
from keras_iwm.backbones.fitting_predictor import fitting_predictor
from keras_iwm.backbones.presets import is_size, preset_path
from keras_iwm.backbones.world_model_predictor import CONDITIONINGS
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.preset_arguments import world_model_arguments
from keras_iwm.models.pretraining_model import check_facts
from keras_iwm.models.teacher_student_model import TeacherStudentModel
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.view_generator import ViewGenerator


@keras.saving.register_keras_serializable(package="keras_iwm")
class ImageWorldModel(TeacherStudentModel):
    """Joint-embedding predictive model that learns what transformations do.

    The encoder (the student) sees the visible patches of the source view; the
    predictor is told the action and predicts, at the masked positions, what the
    target encoder (the teacher) makes of the target view. The teacher has no
    gradient: it is an exponential moving average of the student (image world
    models, arXiv 2403.00504, section 3). With no operations, conditioning
    `"none"` and masks with separate blocks it is I-JEPA (arXiv 2301.08243).

    `compile` it with an optimizer alone and `fit` it on images: the loss is the
    mean squared difference between prediction and target, and labels, if there
    are any, feed nothing but the online probe. `from_encoder` and `from_preset`
    make one in a line.

    Args:
        encoder: `ViTEncoder`, the student. The teacher is made from it.
        predictor: `WorldModelPredictor` for the encoder's grid and width.
        view_generator: `ViewGenerator` for the encoder's grid and images.
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer. If given, `fit` takes integer labels too
            and trains a linear probe on the teacher's pooled latents of the
            target view, behind a stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Tensor of images of shape `(batch_size, height, width, num_channels)`,
            or a dictionary of views with the keys `"source"`, `"target"`, `"action"`,
            `"context_ids"` and `"target_ids"` as the view generator makes it.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, num_targets, hidden_dim)` (with separate blocks
        `(batch_size, num_blocks, num_targets, hidden_dim)`), and
        `"probe_logits"` of shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name, or the views
            are incomplete.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
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
        needed = ("grid_size", "hidden_dim", "action_dim", "conditioning")
        as_object("predictor", predictor, needed, "a WorldModelPredictor")
        super().__init__(encoder, view_generator, ema_momentum, num_classes, **kwargs)
        check_facts(
            ("predictor.grid_size", predictor.grid_size, encoder.grid_size),
            ("predictor.hidden_dim", predictor.hidden_dim, encoder.hidden_dim),
        )
        action_dim = view_generator.action_space.action_dim
        if predictor.conditioning != "none" and predictor.action_dim != action_dim:
            raise ValueError(
                f"`predictor.action_dim` must be {action_dim}, as the view generator's "
                f"action space has it. Received: {predictor.action_dim}."
            )
        self.predictor = predictor
        self.latent_loss = keras.losses.MeanSquaredError(
            name="latent_loss", dtype="float32"
        )
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    preset_prefixes = ("iwm_", "ijepa_")
    view_arguments = ("jitter_strength", "jitter_probability")

    @classmethod
    def from_encoder(
        cls,
        encoder,
        actions="default",
        conditioning="feature",
        predictor_layers=None,
        predictor_dim=None,
        predictor_heads=None,
        crop="default",
        separate_blocks=False,
        seed=None,
        **model_arguments,
    ):
        """Make a world model around an encoder: predictor, views and masks that fit.

        Sizes, range of values and slots of the action follow from the encoder and the
        actions. Precision, stochastic depth, `remat` and how kernels start are the
        encoder's.

        Args:
            encoder: `ViTEncoder`, trained or not.
            actions: The operations that views differ by: an `ActionSpace`, or a list
                of `Transform`s that both views get; `()` for none. By default
                `ActionSpace.default`.
            conditioning: How the predictor learns of the action, `"feature"`,
                `"sequence"` or `"none"`.
            predictor_layers: Optional integer, depth of the predictor: the dial from
                invariant (shallow) to equivariant (deep) features. Defaults to the
                encoder's.
            predictor_dim: Optional integer, width of the predictor. Defaults to half
                of the encoder's.
            predictor_heads: Optional integer, its attention heads. Defaults to the
                encoder's.
            crop: Optional `RandomResizedCrop`, see `ViewGenerator`.
            separate_blocks: Boolean, whether blocks are predicted apart, as in I-JEPA.
            seed: Optional integer, seed of the views and masks.
            **model_arguments: `ema_momentum`, `num_classes`, `name`.

        Returns:
            An `ImageWorldModel`, which trains the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.ViTEncoder(
            image_size=32, patch_size=8, hidden_dim=64, num_layers=2, num_heads=2,
            num_channels=1,
        )
        model = keras_iwm.models.ImageWorldModel.from_encoder(
            encoder, actions=[keras_iwm.actions.Brightness(0.4)], predictor_layers=2
        )
        ```
        """
        needed = ("image_size", "grid_size", "hidden_dim", "num_layers", "num_heads")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        conditioning = as_choice("conditioning", conditioning, CONDITIONINGS)
        view_generator = ViewGenerator(
            encoder.image_size,
            MultiBlockMask(encoder.grid_size, separate_blocks=separate_blocks),
            actions=actions,
            crop=crop,
            num_channels=encoder.num_channels,
            value_range=encoder.value_range,
            seed=seed,
            name="view_generator",
        )
        predictor = fitting_predictor(
            encoder,
            predictor_layers,
            predictor_dim,
            predictor_heads,
            action_dim=view_generator.action_space.action_dim,
            conditioning=conditioning,
            name="predictor",
        )
        return cls(encoder, predictor, view_generator, **model_arguments)

    @classmethod
    def from_preset(cls, preset, load_weights=True, **arguments):
        """Load a pretrained model, or make an untrained one of a named size.

        Args:
            preset: String. `"iwm_tiny_32"`, whose weights come with the package,
                trained on all but three of the photos of `load_sample_photos`; a
                folder that `save_to_preset` has written; a `.pth.tar` of I-JEPA's own
                code. Or, for `load_weights=False`, a name of
                `keras_iwm.backbones.PRESETS`: those that begin with `ijepa_` have no
                operations and no flip, conditioning `"none"` and separately predicted
                blocks (arXiv 2301.08243).
            load_weights: Boolean. If `False`, the model starts at random.
            **arguments: Of a `.pth.tar`, see `read_published_world_model`. Of a named
                size without weights, what to change. Of the encoder: arguments of
                `ViTEncoder` such as `image_size` and `dtype`. Of the default
                operations: `jitter_strength`, which multiplies the ranges of the shared
                ones (2 is the paper's strong jitter), and `jitter_probability`, 0.8 by
                default. And what `from_encoder` takes: `actions`, `conditioning`,
                `predictor_layers`, `seed`, `ema_momentum`, `num_classes`, ...

        Returns:
            An `ImageWorldModel`.

        Raises:
            ValueError: If there is no such preset or it has no weights, its folder is
                refused, or an argument cannot apply to it.

        Example:

        ```python
        model = keras_iwm.models.ImageWorldModel.from_preset(
            "iwm_tiny_32", load_weights=False, predictor_layers=2, seed=0
        )
        ```
        """
        # It makes world models, and needs this class.
        from keras_iwm.models import read_published_world_model as published

        load_weights = as_boolean("load_weights", load_weights)
        if load_weights and not is_size(preset) and preset_path(preset).is_file():
            return published(preset_path(preset), **arguments)
        return super().from_preset(preset, load_weights, **arguments)

    @classmethod
    def preset_arguments(cls, preset, arguments):
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return world_model_arguments(preset, arguments)

    def call(self, inputs, training=None):
        """Predict the target latents of views, or of views made from images."""
        views = self.make_views(inputs, training)
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
        return {
            "prediction": prediction,
            "target": ops.reshape(target, ops.shape(prediction)),
            **self.probe_outputs(latents),
        }

    def method_loss(self, outputs):
        """Return the mean squared difference of prediction and target."""
        return self.latent_loss(outputs["target"], outputs["prediction"])

    def forward_passes(self):
        """Say what runs for one image of a batch in training."""
        mask = self.view_generator.mask
        counts = {"num_context": mask.num_context, "num_targets": mask.num_targets}
        num_blocks = mask.num_blocks if mask.separate_blocks else 1
        return [
            (self.target_encoder, {}),
            (self.encoder, {"num_context": mask.num_context}),
            (self.predictor, {**counts, "num_blocks": num_blocks}),
        ]

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "predictor": keras.saving.serialize_keras_object(self.predictor),
        }
