"""What world models share, whatever they predict."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_choice, as_object
from keras_iwm.backbones.fitting_predictor import fitting_predictor
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import CONDITIONINGS, WorldModelPredictor
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.preset_arguments import world_model_arguments
from keras_iwm.models.pretraining_model import PretrainingModel, check_facts
from keras_iwm.type_aliases import Config, Tensor
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.patch_mask import PatchMask
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.view_generator import ViewGenerator


class WorldModel(PretrainingModel):
    """Base class of methods that predict, told the action, what they do not see.

    The encoder sees the visible patches of the source view; the predictor predicts, at
    the masked positions, what `targets_of` makes of the target view. Here these are
    the latents of the feature encoder; a subclass may have others, of `target_dim`
    numbers a patch.

    Args:
        encoder: `ViTEncoder`, which learns.
        predictor: `WorldModelPredictor` for the encoder's grid, width and targets.
        view_generator: `ViewGenerator` with a mask, for the encoder's grid and images.
        num_classes: Optional integer, see `PretrainingModel`.
        **kwargs: Passed to `PretrainingModel` and the base classes beside it.
    """

    preset_prefixes = ("iwm_", "ijepa_")
    view_arguments = ("jitter_strength", "jitter_probability")
    # Whether what is predicted can be a context again.
    predicts_latents = True

    def __init__(
        self,
        encoder: ViTEncoder,
        predictor: WorldModelPredictor,
        view_generator: ViewGenerator,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        needed = ("grid_size", "hidden_dim", "action_dim", "conditioning", "output_dim")
        as_object("predictor", predictor, needed, "a WorldModelPredictor")
        super().__init__(encoder, view_generator, num_classes=num_classes, **kwargs)
        needed = ("mask", "action_space")
        as_object("view_generator", view_generator, needed, "a ViewGenerator")
        if view_generator.mask is None:
            raise ValueError(
                "`view_generator` must have a mask, which says what is predicted. "
                "Received: mask=None. Give it one, such as a MultiBlockMask."
            )
        check_facts(
            ("predictor.grid_size", predictor.grid_size, encoder.grid_size),
            ("predictor.hidden_dim", predictor.hidden_dim, encoder.hidden_dim),
            ("predictor.output_dim", predictor.output_dim, self.target_dim(encoder)),
        )
        action_dim = view_generator.action_space.action_dim
        if predictor.conditioning != "none" and predictor.action_dim != action_dim:
            raise ValueError(
                f"`predictor.action_dim` must be {action_dim}, as the view generator's "
                f"action space has it. Received: {predictor.action_dim}."
            )
        self.predictor = predictor
        self.prediction_loss = keras.losses.MeanSquaredError(
            name="prediction_loss", dtype="float32"
        )
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    @classmethod
    def from_encoder(
        cls,
        encoder: ViTEncoder,
        actions: ActionSpace | Sequence[Transform] | Literal["default"] = "default",
        conditioning: Literal["none", "sequence", "feature"] = "feature",
        predictor_layers: int | None = None,
        predictor_dim: int | None = None,
        predictor_heads: int | None = None,
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        mask: PatchMask | None = None,
        seed: int | None = None,
        **model_arguments: Any,
    ) -> Self:
        """Make a world model around an encoder: predictor and views that fit.

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
            mask: Optional mask of the encoder's grid: a `MultiBlockMask`, as by
                default, `RandomMask` or `QuadrantMask`.
            seed: Optional integer, seed of the views and masks.
            **model_arguments: Of the constructor, such as `num_classes` and `name`.

        Returns:
            A model of this class, which trains the encoder that was given.

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
            MultiBlockMask(encoder.grid_size) if mask is None else mask,
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
            output_dim=cls.target_dim(encoder),
            name="predictor",
        )
        return cls(encoder, predictor, view_generator, **model_arguments)

    @classmethod
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return world_model_arguments(preset, arguments)

    @staticmethod
    def target_dim(encoder: ViTEncoder) -> int:
        """Numbers that are predicted of each patch of the encoder's."""
        return encoder.hidden_dim

    def targets_of(self, images: Tensor) -> Tensor:
        """Return what is to be predicted of all patches of images.

        Args:
            images: Tensor of shape `(batch_size, height, width, num_channels)`.

        Returns:
            Float32 tensor of shape `(batch_size, num_patches, target_dim)`, normalised.
        """
        latents = self.feature_encoder(images, training=False)
        return ops.stop_gradient(normalize_latents(latents))

    def call(
        self, inputs: Tensor | dict[str, Tensor], training: bool | None = None
    ) -> dict[str, Tensor]:
        """Predict the targets of views, or of views made from images."""
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
        targets = self.targets_of(views["target"])
        flat_ids = ops.reshape(target_ids, (ops.shape(target_ids)[0], -1, 1))
        target = ops.take_along_axis(targets, flat_ids, axis=1)
        prediction = ops.cast(prediction, "float32")
        return {
            "prediction": prediction,
            "target": ops.reshape(target, ops.shape(prediction)),
            **self.outputs_beside(context, targets),
        }

    def outputs_beside(self, context: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return what `call` returns beside prediction and target.

        Here a probe reads the latents of the visible patches.
        """
        return self.probe_outputs(context)

    def method_loss(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return the mean distance of prediction and target."""
        return self.prediction_loss(outputs["target"], outputs["prediction"])

    def forward_passes(self) -> list[tuple[keras.layers.Layer, dict[str, int]]]:
        """Say what runs for one image of a batch in training."""
        mask = self.view_generator.mask
        counts = {"num_context": mask.num_context, "num_targets": mask.num_targets}
        return [
            (self.encoder, {"num_context": mask.num_context}),
            (self.predictor, {**counts, "num_blocks": mask.num_passes}),
        ]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "predictor": keras.saving.serialize_keras_object(self.predictor),
        }
