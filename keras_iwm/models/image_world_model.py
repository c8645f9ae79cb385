"""The image world model."""

from typing import Any, Literal, Self

import keras

from keras_iwm.arguments import as_boolean, as_choice
from keras_iwm.backbones.presets import is_size, preset_path
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.models.teacher_student_model import TeacherStudentModel
from keras_iwm.models.world_model import WorldModel
from keras_iwm.type_aliases import Config, Path, Rate, Tensor
from keras_iwm.views.view_generator import ViewGenerator

LATENT_LOSSES = {
    "squared_error": keras.losses.MeanSquaredError,
    "smooth_l1": keras.losses.Huber,  # whose `delta` is 1
}


@keras.saving.register_keras_serializable(package="keras_iwm")
class ImageWorldModel(WorldModel, TeacherStudentModel):
    """Joint-embedding predictive model that learns what transformations do.

    The encoder (the student) sees the visible patches of the source view; the
    predictor is told the action and predicts, at the masked positions, what the
    target encoder (the teacher) makes of the target view. The teacher has no
    gradient: it is an exponential moving average of the student (image world
    models, arXiv 2403.00504, section 3). With no operations, conditioning
    `"none"` and masks with separate blocks it is I-JEPA (arXiv 2301.08243).
    `PixelWorldModel` predicts pixels in place of latents.

    `compile` it with an optimizer alone and `fit` it on images: the loss is the
    distance of prediction and target, and labels, if there are any, feed nothing
    but the online probe. `from_encoder` and `from_preset` make one in a line.

    Args:
        encoder: `ViTEncoder`, the student. The teacher is made from it.
        predictor: `WorldModelPredictor` for the encoder's grid and width.
        view_generator: `ViewGenerator` for the encoder's grid and images.
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer. If given, `fit` takes integer labels too
            and trains a linear probe on the teacher's pooled latents of the
            target view, behind a stopped gradient; its accuracy is logged.
        latent_loss: `"squared_error"`, or `"smooth_l1"`, which is half of it up to
            differences of 1 and grows linearly from there, as in I-JEPA's code.
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
        encoder: ViTEncoder,
        predictor: WorldModelPredictor,
        view_generator: ViewGenerator,
        ema_momentum: Rate = 0.996,
        num_classes: int | None = None,
        latent_loss: Literal["squared_error", "smooth_l1"] = "squared_error",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            encoder,
            predictor,
            view_generator,
            ema_momentum=ema_momentum,
            num_classes=num_classes,
            **kwargs,
        )
        self.latent_loss = as_choice("latent_loss", latent_loss, LATENT_LOSSES)
        self.prediction_loss = LATENT_LOSSES[latent_loss](
            name="latent_loss", dtype="float32"
        )

    @classmethod
    def from_preset(
        cls, preset: Path, load_weights: bool = True, **arguments: Any
    ) -> Self:
        """Load a pretrained model, or make an untrained one of a named size.

        Args:
            preset: String. `"iwm_tiny_32"`, whose weights come with the package,
                trained on all but three of the photos of `load_sample_photos`; a
                folder that `save_to_preset` has written; a `.pth.tar` of I-JEPA's own
                code. Or, for `load_weights=False`, a name of
                `keras_iwm.backbones.PRESETS`: those that begin with `ijepa_` have no
                operations and no flip, conditioning `"none"`, separately predicted
                blocks and the smooth L1 loss (arXiv 2301.08243).
            load_weights: Boolean. If `False`, the model starts at random.
            **arguments: Of a `.pth.tar`, see `read_published_world_model`. Of a named
                size without weights, what to change. Of the encoder: arguments of
                `ViTEncoder` such as `image_size` and `dtype`. Of the default
                operations: `jitter_strength`, which multiplies the ranges of the shared
                ones (2 is the paper's strong jitter), and `jitter_probability`, 0.8 by
                default. And what `from_encoder` takes: `actions`, `conditioning`,
                `predictor_layers`, `mask`, `seed`, `ema_momentum`, `num_classes`, ...

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
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        arguments = super().preset_arguments(preset, arguments)
        if preset.startswith("ijepa_"):
            arguments = {"latent_loss": "smooth_l1", **arguments}
        return arguments

    def outputs_beside(self, context: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return what `call` returns beside both; the probe reads the teacher."""
        return self.probe_outputs(targets)

    def forward_passes(self) -> list[tuple[keras.layers.Layer, dict[str, int]]]:
        """Say what runs for one image of a batch in training."""
        return [(self.target_encoder, {}), *super().forward_passes()]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "latent_loss": self.latent_loss}
