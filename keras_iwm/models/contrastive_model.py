"""Contrastive pretraining."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_boolean, as_counts, as_number, as_object
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.batch_normalized_mlp import BatchNormalizedMLP
from keras_iwm.models.contrastive_loss import ContrastiveLoss
from keras_iwm.models.teacher_student_model import TeacherStudentModel
from keras_iwm.type_aliases import Config, Rate, Tensor
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.two_view_generator import TWO_VIEW_KEYS, TwoViewGenerator


@keras.saving.register_keras_serializable(package="keras_iwm")
class ContrastiveModel(TeacherStudentModel):
    """MoCo v3 and, without negatives, BYOL: two views of an image are recognised.

    The student is encoder, projector and predictor, the teacher a moving average of
    encoder and projector. From one view of an image the student predicts what the
    teacher makes of the other one, and is to tell it from what it makes of all other
    images of the batch (MoCo v3, arXiv 2104.02057). With `negatives=False` there are no
    other images, and predictor and slow teacher alone keep features from collapsing
    (BYOL, arXiv 2006.07733). Other than in a world model features are to be the same
    whatever was done to the image.

    The batch is that of all devices together: negatives and the statistics of batch
    norms are exchanged. In processes of Torch all of them must therefore call the
    model, for `predict` too; `feature_encoder` asks nobody. Large batches are better.

    Departures from the papers. The encoder has no class token: the mean over patches of
    its last norm goes into the projector, the same features that evaluation takes.
    Statistics of batch norms are always the batch's, none are kept for evaluation, so a
    batch of one image says nothing. `negatives=False` has MoCo v3's heads, whose last
    layers are normalised too, and `pretraining_recipe` gives it AdamW in place of LARS.
    Views: see `TwoViewGenerator`. MoCo v3 trains more steadily with a random patch
    projection that never learns: `model.encoder.patch_embedding.trainable = False`
    before `compile`. Its momentum rises to 1 by a cosine, which
    `pretraining_recipe(..., ema_momentum=0.99)` replaces by a line.

    `compile` it with an optimizer alone and `fit` it on images; labels, if there are
    any, feed nothing but the online probe.

    Args:
        encoder: `ViTEncoder`, the student's. The teacher's is made from it.
        view_generator: `TwoViewGenerator` for the encoder's images.
        projector_dims: Tuple of integers, widths of the projector's layers. The last
            one is the width in which views are compared.
        predictor_dims: Tuple of integers, widths of the predictor's layers, the last
            one that of the projector. With `()` there is no predictor, which needs
            negatives: without either, features collapse.
        temperature: Float above 0, by which cosines are divided; of no effect without
            negatives.
        negatives: Boolean, whether to tell images of a batch apart (MoCo v3) or not
            (BYOL).
        ema_momentum: Float in [0, 1], or a `keras.optimizers.schedules` schedule
            of the optimizer's updates: how much of the teacher is kept at each.
        num_classes: Optional integer. If given, `fit` takes integer labels too
            and trains a linear probe on the teacher's pooled latents of the second
            view, behind a stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Tensor of images of shape `(batch_size, height, width, num_channels)`,
            or a dictionary of views with the keys `"first"` and `"second"` as the view
            generator makes it.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, 2, projector_dims[-1])`: what the student predicts from the first
        and the second view, and what the teacher makes of the second and the first.
        And `"probe_logits"` of shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If an argument is outside its range, or views do not fit.

    Example:

    ```python
    model = keras_iwm.models.ContrastiveModel.from_preset(
        "moco_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.1))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    latents = model.feature_encoder.predict(images)  # (16, 16, 96)
    ```
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        view_generator: TwoViewGenerator,
        projector_dims: tuple[int, ...] = (4096, 4096, 256),
        predictor_dims: tuple[int, ...] = (4096, 256),
        temperature: float = 0.2,
        negatives: bool = True,
        ema_momentum: Rate = 0.99,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(encoder, view_generator, ema_momentum, num_classes, **kwargs)
        if tuple(view_generator.keys) != TWO_VIEW_KEYS:
            raise ValueError(
                "`view_generator` must be a TwoViewGenerator, which makes "
                f"{TWO_VIEW_KEYS}. Received one that makes {view_generator.keys}."
            )
        expected = "the width of each layer, such as (512, 128)"
        self.projector_dims = as_counts("projector_dims", projector_dims, expected)
        self.predictor_dims = as_counts("predictor_dims", predictor_dims, expected, 0)
        if self.predictor_dims and self.predictor_dims[-1] != self.projector_dims[-1]:
            raise ValueError(
                "`predictor_dims` must end in the width that `projector_dims` ends in, "
                f"{self.projector_dims[-1]}. Received: predictor_dims={predictor_dims}."
            )
        self.temperature = as_number("temperature", temperature, 1e-3, 1e3)
        self.negatives = as_boolean("negatives", negatives)
        self.contrastive_loss = ContrastiveLoss(
            self.temperature, self.negatives, name="contrastive_loss"
        )
        self.projector = BatchNormalizedMLP(
            encoder.hidden_dim, self.projector_dims, name="projector"
        )
        # What others know as `predictor` predicts the latents of patches.
        self.projection_predictor = BatchNormalizedMLP(
            self.projector_dims[-1],
            self.predictor_dims,
            name="projection_predictor",
        )
        self.add_target("projector")
        self.built = True
        self.check_paths()
        if not trainable:
            self.trainable = False

    preset_prefixes = ("moco_", "byol_")

    @classmethod
    def from_encoder(
        cls,
        encoder: ViTEncoder,
        transforms: tuple[Sequence[Transform], Sequence[Transform]]
        | Literal["default"] = "default",
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        seed: int | None = None,
        **model_arguments: Any,
    ) -> Self:
        """Make a contrastive model around an encoder, with views that fit.

        Args:
            encoder: `ViTEncoder`, trained or not.
            transforms: Operations of the two views, see `TwoViewGenerator`.
            crop: Optional `RandomResizedCrop`, see `TwoViewGenerator`.
            seed: Optional integer, seed of the views.
            **model_arguments: Of `ContrastiveModel`: `projector_dims`,
                `predictor_dims`, `temperature`, `negatives`, `ema_momentum`,
                `num_classes`, `name`.

        Returns:
            A `ContrastiveModel`, which trains the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.ViTEncoder(
            image_size=32, patch_size=8, hidden_dim=64, num_layers=2, num_heads=2
        )
        model = keras_iwm.models.ContrastiveModel.from_encoder(
            encoder, projector_dims=(128, 128, 32), predictor_dims=(128, 32)
        )
        ```
        """
        needed = ("image_size", "num_channels", "value_range", "hidden_dim")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        view_generator = TwoViewGenerator(
            encoder.image_size,
            transforms,
            crop,
            num_channels=encoder.num_channels,
            value_range=encoder.value_range,
            seed=seed,
            name="view_generator",
        )
        return cls(encoder, view_generator, **model_arguments)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """Predict the teacher's projections of views, or of views made from images."""
        views = self.make_views(inputs, training)
        # Side by side, so that an image's views stay on its device.
        images = ops.stack([views[key] for key in TWO_VIEW_KEYS], axis=1)
        images = ops.reshape(images, (-1, *images.shape[2:]))
        latents = two_views(self.encoder(images, training=training))
        projection = self.projector(ops.mean(latents, axis=2))
        latents = ops.stop_gradient(
            two_views(self.target_encoder(images, training=False))
        )
        target = self.target_projector(ops.mean(latents, axis=2))
        return {
            "prediction": self.projection_predictor(projection),
            # Each view predicts the other.
            "target": ops.flip(target, axis=1),
            **self.probe_outputs(latents[:, 1]),
        }

    def method_loss(self, outputs: dict[str, Tensor]) -> Tensor:
        """Return InfoNCE, or without negatives BYOL's loss."""
        return self.contrastive_loss(outputs["target"], outputs["prediction"])

    def forward_passes(self) -> list[tuple[Any, dict[str, Any]]]:
        """Say what runs for one image of a batch in training, but the loss."""
        heads = (self.target_projector, self.projector, self.projection_predictor)
        return [
            *[(self.target_encoder, {})] * 2,
            *[(self.encoder, {})] * 2,
            *((head, {"rows": 2}) for head in heads),
        ]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "projector_dims": self.projector_dims,
            "predictor_dims": self.predictor_dims,
            "temperature": self.temperature,
            "negatives": self.negatives,
        }


def two_views(latents):
    """Take the views of each image apart, as float32.

    Args:
        latents: Tensor of shape `(2 * batch_size, num_patches, hidden_dim)`.

    Returns:
        Float32 tensor of shape `(batch_size, 2, num_patches, hidden_dim)`.
    """
    latents = ops.cast(latents, "float32")
    return ops.reshape(latents, (-1, 2, *latents.shape[1:]))
