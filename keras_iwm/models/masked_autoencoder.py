"""Masked autoencoding."""

from typing import Any, Literal, Self

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_object
from keras_iwm.array_arguments import check_images
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.layers.patch_pixels import images_of_patches, patch_pixels
from keras_iwm.models.pixel_world_model import PixelWorldModel
from keras_iwm.models.preset_arguments import preset_arguments, with_predictor_sizes
from keras_iwm.type_aliases import Array, Config
from keras_iwm.views.patch_mask import PatchMask
from keras_iwm.views.random_mask import RandomMask
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.view_generator import ViewGenerator


@keras.saving.register_keras_serializable(package="keras_iwm")
class MaskedAutoencoder(PixelWorldModel):
    """Masked autoencoder: most patches are hidden, and their pixels predicted.

    The encoder sees the quarter of the patches that a `RandomMask` leaves; a light
    predictor, the paper's decoder, adds mask tokens and predicts the pixels of the
    others, each patch normalised by its own mean and variance. The loss is the mean
    squared difference over the hidden patches (masked autoencoders, arXiv 2111.06377).
    It is a `PixelWorldModel` without an action. `from_encoder` and `from_preset` make
    one in a line.

    It departs from the paper where the encoders of this library do, so that methods
    compare on one encoder: there is no class token (an encoder of
    `num_prefix_tokens=1` has one, which the predictor does not see), keys have no bias,
    and the ends of residual branches start smaller the deeper the network is. The crop
    is bilinear, the paper's bicubic.

    Args:
        encoder: `ViTEncoder`.
        predictor: `WorldModelPredictor` of conditioning `"none"` for the encoder's grid
            and width, whose `output_dim` is the numbers of a patch.
        view_generator: `ViewGenerator` with a mask and without actions, for the
            encoder's grid and images.
        num_classes: Optional integer, see `PixelWorldModel`.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Images or views, as of `ImageWorldModel`.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, num_targets, output_dim)`, and `"probe_logits"` of shape
        `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name, or know an
            action.

    Example:

    ```python
    model = keras_iwm.models.MaskedAutoencoder.from_preset(
        "mae_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.05))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    pictures = model.reconstruct(images[:4])["reconstruction"]  # (4, 32, 32, 3)
    ```
    """

    preset_prefixes = ("mae_",)
    view_arguments = ()

    def __init__(
        self,
        encoder: ViTEncoder,
        predictor: WorldModelPredictor,
        view_generator: ViewGenerator,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, predictor, view_generator, num_classes, **kwargs)
        action_dim = view_generator.action_space.action_dim
        if action_dim or predictor.conditioning != "none":
            raise ValueError(
                "`view_generator` and `predictor` must know no action. Received: "
                f"action_dim={action_dim}, conditioning={predictor.conditioning!r}. "
                "With actions it is a PixelWorldModel."
            )

    @classmethod
    def from_encoder(  # type: ignore[override]
        cls,
        encoder: ViTEncoder,
        predictor_layers: int = 4,
        predictor_dim: int | None = None,
        predictor_heads: int | None = None,
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        mask: PatchMask | None = None,
        seed: int | None = None,
        **model_arguments: Any,
    ) -> Self:
        """Make a masked autoencoder around an encoder: predictor and views that fit.

        Args:
            encoder: `ViTEncoder`, trained or not.
            predictor_layers: Integer, depth of the predictor.
            predictor_dim: Optional integer, width of the predictor. Defaults to half
                of the encoder's.
            predictor_heads: Optional integer, its attention heads. Defaults to the
                encoder's.
            crop: Optional `RandomResizedCrop`, see `ViewGenerator`. By default one to
                20 to 100 % of the area, with a flip.
            mask: Optional mask of the encoder's grid. Defaults to a `RandomMask` of
                75 %.
            seed: Optional integer, seed of the views and masks.
            **model_arguments: Of the constructor, such as `num_classes` and `name`.

        Returns:
            A `MaskedAutoencoder`, which trains the encoder that was given.

        Raises:
            ValueError: If the parts cannot be made so.

        Example:

        ```python
        encoder = keras_iwm.backbones.ViTEncoder(
            image_size=32, patch_size=4, hidden_dim=64, num_layers=2, num_heads=2
        )
        model = keras_iwm.models.MaskedAutoencoder.from_encoder(
            encoder, mask=keras_iwm.views.RandomMask(encoder.grid_size, ratio=0.6)
        )
        ```
        """
        needed = ("image_size", "grid_size", "patch_size", "num_heads")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        if isinstance(crop, str) and crop == "default":
            crop = RandomResizedCrop(encoder.image_size, scale=(0.2, 1.0))
        return super().from_encoder(
            encoder,
            actions=(),
            conditioning="none",
            predictor_layers=as_count("predictor_layers", predictor_layers),
            predictor_dim=predictor_dim,
            predictor_heads=predictor_heads,
            crop=crop,
            mask=RandomMask(encoder.grid_size) if mask is None else mask,
            seed=seed,
            **model_arguments,
        )

    @classmethod
    def preset_arguments(cls, preset: str, arguments: Config) -> Config:
        """Return the arguments of `from_encoder` for a named size and changes to it."""
        return with_predictor_sizes(preset_arguments(preset, arguments))

    def reconstruct(self, images: Array, seed: int = 0) -> dict[str, np.ndarray]:
        """Hide patches of images, and put what is predicted in their place.

        What is predicted is normalised. It is given the mean and the deviation of the
        hidden patch itself, as in the paper's pictures: brightness and contrast are
        the image's own, only the structure is the model's. What is visible is kept.

        Args:
            images: Array of shape `(num_images, height, width, num_channels)` of the
                model's `image_size` and in its `value_range`. All are computed at once.
            seed: Integer, which patches are hidden.

        Returns:
            Dictionary of NumPy arrays: `"reconstruction"`, float32 of the shape of
            `images`, in `value_range`; `"visible"`, booleans of shape
            `(num_images, height, width)`, which pixels the encoder saw.

        Raises:
            ValueError: If the images do not fit the model.
        """
        encoder, mask = self.encoder, self.view_generator.mask
        images = check_images(
            images, self.image_size, self.value_range, num_channels=self.num_channels
        )
        images = np.asarray(images, "float32")
        draws = np.random.default_rng(as_count("seed", seed, 0))
        uniforms = draws.random((len(images), mask.num_draws), "float32")
        context_ids, _ = mask(uniforms)
        visible = np.zeros((len(images), self.num_patches), bool)
        np.put_along_axis(visible, ops.convert_to_numpy(context_ids), True, axis=1)
        # The hidden ones come first.
        hidden_ids = np.argsort(visible, axis=1, kind="stable").astype("int32")
        hidden_ids = hidden_ids[:, : self.num_patches - mask.num_context]
        latents = encoder(images, patch_ids=context_ids, training=False)
        prediction = ops.convert_to_numpy(
            ops.cast(
                self.predictor(latents, context_ids, hidden_ids, training=False),
                "float32",
            )
        )

        low, high = self.value_range
        scale = (high - low) * np.array(encoder.std, "float32")
        offset = low + (high - low) * np.array(encoder.mean, "float32")
        patches = patch_pixels((images - offset) / scale, encoder.patch_size)
        patches = np.array(ops.convert_to_numpy(patches))
        hidden = np.take_along_axis(patches, hidden_ids[..., None], axis=1)
        mean = hidden.mean(axis=-1, keepdims=True)
        # Unbiased, as the targets have it.
        ddof = min(1, hidden.shape[-1] - 1)
        deviation = hidden.std(axis=-1, ddof=ddof, keepdims=True)
        np.put_along_axis(
            patches, hidden_ids[..., None], mean + deviation * prediction, axis=1
        )
        pictures = images_of_patches(patches, encoder.grid_size, encoder.patch_size)
        pictures = ops.convert_to_numpy(pictures) * scale + offset
        visible = visible.reshape(-1, *encoder.grid_size)
        for axis in (1, 2):
            visible = np.repeat(visible, encoder.patch_size, axis=axis)
        pictures = np.where(visible[..., None], images, np.clip(pictures, low, high))
        return {"reconstruction": pictures, "visible": visible}
