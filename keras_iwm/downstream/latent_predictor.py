"""The world model as an answer to an image and an action."""

from typing import Any, Self

import keras
from keras import ops

from keras_iwm.arguments import as_object
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.downstream.world_model_backbone import all_positions
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class LatentPredictor(ComposedModel):
    """Predict the latents that an action on an image leads to.

    The encoder makes latents of the whole image, and the predictor, told the action,
    predicts those of the transformed image at all positions. So a server answers what
    an operation would do without doing it: make it with `from_world_model`, then
    `predict` or `export`.

    The predictor has learned latents that are normalised. Compare with
    `keras_iwm.layers.normalize_latents(encoder(transformed_images))`.

    Args:
        encoder: `ViTEncoder`. It is not copied.
        predictor: `WorldModelPredictor` for the encoder's grid and width that sees
            the action. It is not copied.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Dictionary of `"images"`, of shape `(batch_size, height, width,
            num_channels)` in the encoder's `value_range`, and `"action"`, float of
            shape `(batch_size, action_dim)`, as `ActionSpace.between` makes it; zeros
            are the null action.
        training: Boolean, whether to drop paths.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Raises:
        ValueError: If a part is missing, does not fit, or knows no action.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    latent_predictor = keras_iwm.downstream.LatentPredictor.from_world_model(model)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    action = np.zeros((4, model.action_space.action_dim), "float32")
    latents = latent_predictor({"images": images, "action": action})  # (4, 16, 96)
    ```
    """

    def __init__(
        self, encoder: ViTEncoder, predictor: WorldModelPredictor, **kwargs: Any
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        needed = ("grid_size", "hidden_dim", "patch_size", "input_signature")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        needed = ("grid_size", "hidden_dim", "action_dim", "conditioning")
        as_object("predictor", predictor, needed, "a WorldModelPredictor")
        facts = (encoder.grid_size, encoder.hidden_dim)
        if (predictor.grid_size, predictor.hidden_dim) != facts:
            raise ValueError(
                "`predictor` must have the encoder's grid and width, "
                f"{encoder.grid_size} and {encoder.hidden_dim}. Received: "
                f"{predictor.grid_size} and {predictor.hidden_dim}."
            )
        if predictor.conditioning == "none":
            raise ValueError(
                "`predictor` must see the action. Received one with conditioning "
                "'none'. Pretrain with conditioning 'feature' or 'sequence', or take "
                "the encoder alone."
            )
        self.encoder = encoder
        self.predictor = predictor
        self.built = True
        if not trainable:
            self.trainable = False

    @classmethod
    def from_world_model(cls, model: keras.Model) -> Self:
        """Make one of a pretrained model's `feature_encoder` and `predictor`.

        Args:
            model: `ImageWorldModel`, or another model that has both. They are shared
                with it, not copied.

        Returns:
            A `LatentPredictor`.

        Raises:
            ValueError: If the model has no predictor, or one that knows no action or
                predicts pixels.
        """
        needed = ("feature_encoder", "predictor")
        as_object("model", model, needed, "a model such as an ImageWorldModel")
        if not getattr(model, "predicts_latents", True):
            raise ValueError(
                "`model` must predict latents. Received: "
                f"{type(model).__name__}, which predicts pixels."
            )
        return cls(model.feature_encoder, model.predictor)

    @property
    def input_signature(self) -> list[Any]:
        """What `call` takes, for `export`."""
        (images,) = self.encoder.input_signature
        shape = (None, self.predictor.action_dim)
        action = keras.InputSpec(shape=shape, dtype="float32", name="action")
        return [{"images": images, "action": action}]

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Tensor:
        """Encode the images, and predict all latents after the action."""
        images = ops.convert_to_tensor(inputs["images"])
        latents = self.encoder(images, training=training)
        ids = all_positions(latents)
        return self.predictor(
            latents,
            ids,
            ids,
            inputs["action"],
            training=training,
            grid_size=self.encoder.grid_of(images.shape),
        )

    def compute_output_spec(
        self, inputs: dict[str, Tensor], training: bool | None = None
    ) -> Tensor:
        """Return the latents as a symbolic tensor."""
        latents = self.encoder.compute_output_spec(inputs["images"])
        return keras.KerasTensor(latents.shape, dtype=self.predictor.compute_dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "predictor": keras.saving.serialize_keras_object(self.predictor),
        }
