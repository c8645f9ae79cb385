"""A world model that predicts pixels."""

import keras

from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.patch_pixels import normalize_patches, patch_pixels
from keras_iwm.layers.pixel_statistics import normalize_pixels
from keras_iwm.models.world_model import WorldModel
from keras_iwm.type_aliases import Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class PixelWorldModel(WorldModel):
    """World model that predicts pixels in place of latents.

    The encoder sees the visible patches of the source view; the predictor is told the
    action and predicts, at the masked positions, the pixels of the target view, each
    patch normalised by its own mean and variance. Pixels cannot collapse, so there is
    no target encoder: `feature_encoder` is the encoder that learns. It is what
    `ImageWorldModel` and I-JEPA are to be compared with (arXiv 2301.08243, the ablation
    of targets), by the same predictor, views and masks.

    Retrieval ranks what is predicted among the normalised pixels of the bank's images:
    its numbers are of another task than those of latents. Where a prediction would have
    to be a latent (`LatentPredictor`, `equivariance_report`) it is refused.

    Args:
        encoder: `ViTEncoder`.
        predictor: `WorldModelPredictor` for the encoder's grid and width, whose
            `output_dim` is the numbers of a patch, `patch_size**2 * num_channels`.
        view_generator: `ViewGenerator` with a mask, for the encoder's grid and images.
        num_classes: Optional integer. If given, `fit` takes integer labels too and
            trains a linear probe on the pooled latents of the visible patches, behind
            a stopped gradient; its accuracy is logged.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Images or views, as of `ImageWorldModel`.
        training: Boolean. In inference mode the views are the same at every call.

    Returns:
        Dictionary with `"prediction"` and `"target"`, float32 tensors of shape
        `(batch_size, num_targets, output_dim)` (with separate blocks
        `(batch_size, num_blocks, num_targets, output_dim)`), and `"probe_logits"` of
        shape `(batch_size, num_classes)` if there is a probe.

    Raises:
        ValueError: If the parts do not fit each other or share a name, or the views
            are incomplete.

    Example:

    ```python
    model = keras_iwm.models.PixelWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), "uint8")
    model.fit(images, batch_size=8)
    ```
    """

    predicts_latents = False

    @staticmethod
    def target_dim(encoder: ViTEncoder) -> int:
        """Numbers that are predicted of each patch of the encoder's."""
        return encoder.patch_size**2 * encoder.num_channels

    def targets_of(self, images: Tensor) -> Tensor:
        """Return the normalised pixels of all patches of images."""
        encoder = self.encoder
        pixels = normalize_pixels(
            images, encoder.value_range, encoder.mean, encoder.std
        )
        return normalize_patches(patch_pixels(pixels, encoder.patch_size))
