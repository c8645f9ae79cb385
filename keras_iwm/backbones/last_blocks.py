"""The mean of an encoder's last blocks, as an encoder."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.backbones.encoder_around import EncoderAround
from keras_iwm.type_aliases import AnyModel, Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class LastBlocks(EncoderAround):
    """An encoder whose latents are the mean of what its last blocks return.

    Of autoregressive models the last block is not the best: its latents turn back to
    pixels. They are probed on the mean of the last six blocks (arXiv 2401.08541,
    section 4). It goes wherever features are made, around any encoder.

    Args:
        encoder: `ViTEncoder` or `CausalEncoder`.
        num_last: Integer, number of blocks, at most the encoder's.
        **kwargs: Passed to `keras.Model`: `name`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)`.
        training: Boolean, whether to drop paths.
        return_intermediates: Boolean. If `True`, the encoder's dictionary is returned,
            with the mean under `"norm"`.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)` in the compute dtype.
        It is not normalised: standardise features before a probe.

    Raises:
        ValueError: If the encoder has fewer blocks.

    Example:

    ```python
    encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    features = keras_iwm.evaluation.extract_features(
        keras_iwm.backbones.LastBlocks(encoder, 2), images
    )  # (4, 96)
    ```
    """

    def __init__(self, encoder: AnyModel, num_last: int = 6, **kwargs: Any) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(encoder, **kwargs)
        self.num_last = as_count("num_last", num_last, 1, self.num_layers)
        self.built = True
        if not trainable:
            self.trainable = False

    def call(
        self,
        images: Tensor,
        training: bool | None = None,
        return_intermediates: bool = False,
    ) -> Any:
        """Encode images and average over the last blocks."""
        tokens = self.encoder(images, training=training, return_intermediates=True)
        first = self.num_layers - self.num_last
        last = [
            ops.cast(tokens[f"block_{index:02d}"], "float32")
            for index in range(first, self.num_layers)
        ]
        mean = sum(last) / self.num_last
        mean = ops.cast(mean, self.compute_dtype)
        return {**tokens, "norm": mean} if return_intermediates else mean

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_last": self.num_last}
