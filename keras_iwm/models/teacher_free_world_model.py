"""A world model without a target encoder."""

from typing import Any

import keras

from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.layers.normalize_latents import normalize_latents
from keras_iwm.models.latent_regularization import LatentRegularization
from keras_iwm.models.world_model import WorldModel
from keras_iwm.type_aliases import Config, Tensor
from keras_iwm.views.view_generator import ViewGenerator


@keras.saving.register_keras_serializable(package="keras_iwm")
class TeacherFreeWorldModel(LatentRegularization, WorldModel):
    """World model whose targets are the latents of the encoder that learns.

    The encoder sees the visible patches of the source view; the predictor is told the
    action and predicts, at the masked positions, what the same encoder makes of the
    whole target view. There is no target encoder and no stopped gradient. Alone, this
    would collapse: equal latents for all images are easily predicted. A loss of the
    target latents stands against it: `SlicedGaussianRegularizer`, that of LeJEPA
    (arXiv 2511.08544), or `VarianceCovarianceRegularizer`, that of VICReg
    (arXiv 2105.04906). Unlike in these papers there is no projector in between: what
    is regularised is what is predicted, and what a user takes away. As in
    `ImageWorldModel`, latents are normalised first.

    A step costs what the gradient through the target view does: about twice the
    encoder's part of an `ImageWorldModel`'s.

    Args:
        encoder: `ViTEncoder`.
        predictor: `WorldModelPredictor` for the encoder's grid and width.
        view_generator: `ViewGenerator` with a mask, for the encoder's grid and images.
        regularizer: Optional layer that makes a scalar loss of latents of shape
            `(batch_size, num_patches, hidden_dim)`, weight included; it is called with
            `training`. Defaults to a `SlicedGaussianRegularizer`.
        num_classes: Optional integer. If given, `fit` takes integer labels too and
            trains a linear probe on the pooled latents of the target view, behind a
            stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Images or views, as of `ImageWorldModel`.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, num_targets, hidden_dim)` (with separate blocks
        `(batch_size, num_blocks, num_targets, hidden_dim)`), `"latents"` of shape
        `(batch_size, num_patches, hidden_dim)`, all those of the target view, and
        `"probe_logits"` of shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name, or the views
            are incomplete.

    Example:

    ```python
    model = keras_iwm.models.TeacherFreeWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    ```
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        predictor: WorldModelPredictor,
        view_generator: ViewGenerator,
        regularizer: keras.layers.Layer | None = None,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(
            encoder, predictor, view_generator, num_classes=num_classes, **kwargs
        )
        self.set_regularizer(regularizer, view_generator.seed)
        self.check_paths()
        if not trainable:
            self.trainable = False

    def targets_of(self, images: Tensor) -> Tensor:
        """Return the latents of all patches of images, with their gradient."""
        return normalize_latents(self.encoder(images, training=False))

    def outputs_beside(self, context: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return what `call` returns beside prediction and target."""
        return {"latents": targets, **self.probe_outputs(targets)}

    def forward_passes(self) -> list[tuple[Any, dict[str, int]]]:
        """Say what runs for one image of a batch in training, but the regularizer."""
        return [(self.encoder, {}), *super().forward_passes()]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        regularizer = keras.saving.serialize_keras_object(self.regularizer)
        return {**super().get_config(), "regularizer": regularizer}
