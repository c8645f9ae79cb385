"""The masked world model of clips."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from keras_iwm.arguments import as_object
from keras_iwm.backbones.fitting_predictor import fitting_predictor
from keras_iwm.backbones.video_encoder import VideoEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.preset_arguments import preset_arguments, with_predictor_sizes
from keras_iwm.models.pretraining_model import check_facts
from keras_iwm.models.teacher_student_model import TeacherStudentModel
from keras_iwm.type_aliases import Config, Rate, Tensor
from keras_iwm.views.clip_view_generator import ClipViewGenerator
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.video_block_mask import VideoBlockMask


@keras.saving.register_keras_serializable(package="keras_iwm")
class VideoWorldModel(TeacherStudentModel):
    """Joint-embedding predictive model of clips: V-JEPA.

    The encoder (the student) sees the patches of a clip that a mask leaves; the
    predictor predicts, at the patches that it hides, what the target encoder (the
    teacher) makes of the whole clip, each latent normalised. This is done once for each
    mask, with a mask token of its own, by default for one of many short blocks and one
    of few long ones, all of which run through time. The loss is the mean over masks of
    the mean absolute difference (V-JEPA, arXiv 2404.08471). The teacher has no
    gradient: it is an exponential moving average of the student.

    `compile` it with an optimizer alone and `fit` it on clips; labels, if there are
    any, feed nothing but the online probe. `from_encoder` and `from_preset` make one in
    a line. `feature_encoder`, the teacher, takes clips and images.

    Args:
        encoder: `VideoEncoder`, the student. The teacher is made from it.
        predictor: `WorldModelPredictor` of conditioning `"none"` for the encoder's grid
            and width, with as many mask tokens as there are masks.
        view_generator: `ClipViewGenerator` for the encoder's grid and clips.
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer. If given, `fit` takes integer labels too
            and trains a linear probe on the teacher's pooled latents of the whole
            clip, behind a stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Tensor of clips of shape `(batch_size, num_frames, height, width,
            num_channels)`, or a dictionary of views as the view generator makes it.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, each a tuple with one float32
        tensor of shape `(batch_size, num_targets, hidden_dim)` for each mask, and
        `"probe_logits"` of shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name, or the views
            are incomplete.

    Example:

    ```python
    model = keras_iwm.models.VideoWorldModel.from_preset(
        "vjepa_tiny_64", load_weights=False, num_layers=2, predictor_layers=2
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    clips = np.random.default_rng(0).integers(0, 256, (4, 8, 64, 64, 3), "uint8")
    model.fit(clips, batch_size=2)
    latents = model.feature_encoder.predict(clips)  # (4, 256, 192)
    of_images = model.feature_encoder.predict(clips[:, 0])  # (4, 64, 192)
    ```
    """

    takes_clips = True
    preset_prefixes = ("vjepa_",)
    view_arguments = ("num_frames", "tubelet_size")

    def __init__(
        self,
        encoder: VideoEncoder,
        predictor: WorldModelPredictor,
        view_generator: ClipViewGenerator,
        ema_momentum: Rate = 0.998,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        needed = ("num_frames", "grid_size", "hidden_dim")
        as_object("encoder", encoder, needed, "a VideoEncoder")
        needed = ("grid_size", "hidden_dim", "conditioning", "output_dim")
        needed = (*needed, "num_mask_tokens")
        as_object("predictor", predictor, needed, "a WorldModelPredictor")
        needed = ("masks", "num_frames")
        as_object("view_generator", view_generator, needed, "a ClipViewGenerator")
        super().__init__(encoder, view_generator, ema_momentum, num_classes, **kwargs)
        masks = view_generator.masks
        frames = ("view_generator.num_frames", view_generator.num_frames)
        check_facts(
            (*frames, encoder.num_frames),
            *(
                ("view_generator.masks' grid_size", mask.grid_size, encoder.grid_size)
                for mask in masks
            ),
            ("predictor.grid_size", predictor.grid_size, encoder.grid_size),
            ("predictor.hidden_dim", predictor.hidden_dim, encoder.hidden_dim),
            ("predictor.output_dim", predictor.output_dim, encoder.hidden_dim),
        )
        if predictor.conditioning != "none" or predictor.num_mask_tokens != len(masks):
            raise ValueError(
                f"`predictor` must have conditioning 'none' and {len(masks)} mask "
                "tokens, one for each mask. Received one with conditioning="
                f"{predictor.conditioning!r}, num_mask_tokens="
                f"{predictor.num_mask_tokens}."
            )
        self.predictor = predictor
        self.prediction_loss = keras.losses.MeanAbsoluteError(
            name="prediction_loss", dtype="float32"
        )
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    @classmethod
    def from_encoder(
        cls,
        encoder: VideoEncoder,
        predictor_layers: int | None = None,
        predictor_dim: int | None = None,
        predictor_heads: int | None = None,
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        masks: Sequence[VideoBlockMask] | None = None,
        seed: int | None = None,
        **model_arguments: Any,
    ) -> Self:
        """Make a video world model around an encoder: predictor and views that fit.

        Args:
            encoder: `VideoEncoder`, trained or not.
            predictor_layers: Optional integer, depth of the predictor. Defaults to the
                encoder's.
            predictor_dim: Optional integer, width of the predictor. Defaults to half
                of the encoder's.
            predictor_heads: Optional integer, its attention heads. Defaults to the
                encoder's.
            crop: Optional `RandomResizedCrop`, see `ClipViewGenerator`.
            masks: Optional list of masks of the encoder's grid. By default V-JEPA's
                two: 8 blocks of 15 % of a frame, and 2 blocks of 70 %.
            seed: Optional integer, seed of the views and masks.
            **model_arguments: Of the constructor, such as `num_classes` and `name`.

        Returns:
            A `VideoWorldModel`, which trains the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.VideoEncoder(
            image_size=32, patch_size=4, hidden_dim=48, num_layers=2, num_heads=2,
            num_frames=4,
        )
        model = keras_iwm.models.VideoWorldModel.from_encoder(
            encoder, masks=[keras_iwm.views.VideoBlockMask(encoder.grid_size)]
        )
        ```
        """
        needed = ("num_frames", "image_size", "grid_size", "hidden_dim", "num_heads")
        as_object("encoder", encoder, needed, "a VideoEncoder")
        if masks is None:
            masks = [
                VideoBlockMask(encoder.grid_size, name="short_mask"),
                VideoBlockMask(encoder.grid_size, 2, (0.7, 0.7), name="long_mask"),
            ]
        view_generator = ClipViewGenerator(
            encoder.image_size,
            encoder.num_frames,
            masks,
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
            conditioning="none",
            num_mask_tokens=len(masks),
            name="predictor",
        )
        return cls(encoder, predictor, view_generator, **model_arguments)

    @classmethod
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return with_predictor_sizes(preset_arguments(preset, arguments))

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Predict the latents that each mask hides of clips, or of views."""
        views = self.make_views(inputs, training)
        clips = views["clips"]
        latents = normalize_latents(self.target_encoder(clips, training=False))
        latents = ops.stop_gradient(latents)
        predictions, targets = [], []
        pairs = zip(views["context_ids"], views["target_ids"], strict=True)
        for index, (context_ids, target_ids) in enumerate(pairs):
            context = self.encoder(clips, patch_ids=context_ids, training=training)
            prediction = self.predictor(
                *(context, context_ids, target_ids),
                training=training,
                mask_index=index,
            )
            predictions.append(ops.cast(prediction, "float32"))
            ids = ops.convert_to_tensor(target_ids)[..., None]
            targets.append(ops.take_along_axis(latents, ids, axis=1))
        return {
            "prediction": tuple(predictions),
            "target": tuple(targets),
            **self.probe_outputs(latents),
        }

    def method_loss(self, outputs: dict[str, Any]) -> Tensor:
        """Return the mean over masks of the mean absolute difference."""
        pairs = zip(outputs["target"], outputs["prediction"], strict=True)
        losses = [self.prediction_loss(target, value) for target, value in pairs]
        return sum(losses) / len(losses)

    def forward_passes(self) -> list[tuple[keras.layers.Layer, dict[str, int]]]:
        """Say what runs for one clip of a batch in training."""
        passes = [(self.target_encoder, {})]
        for mask in self.view_generator.masks:
            counts = {"num_context": mask.num_context}
            passes.append((self.encoder, counts))
            passes.append((self.predictor, {**counts, "num_targets": mask.num_targets}))
        return passes

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "predictor": keras.saving.serialize_keras_object(self.predictor),
        }
