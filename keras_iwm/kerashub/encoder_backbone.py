"""An encoder as a backbone of KerasHub."""

from typing import Any, Self

import keras
import keras_hub

from keras_iwm.arguments import as_object
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.type_aliases import Config, DType


@keras.saving.register_keras_serializable(package="keras_iwm")
class EncoderBackbone(keras_hub.models.FeaturePyramidBackbone):
    """KerasHub backbone around an encoder, for the tasks of KerasHub.

    Its output lies on the grid of patches, as that of a convolutional network, so
    that the heads and the pooling of KerasHub's tasks are right by default:
    `keras_hub.models.ImageClassifier`, and `keras_hub.models.DeepLabV3ImageSegmenter`
    on a `keras_hub.models.DeepLabV3Backbone`. It is a functional model with an input
    of one size, the encoder's `image_size`; `EncoderImageConverter` brings images to
    it. The encoder normalises pixels itself, so they come in its `value_range`.

    A patch has one size, so `pyramid_outputs` has one level: `"P4"` with patches of 16,
    2 to the fourth, pixels. It is empty if the patch size is no power of two.
    KerasHub's SegFormer and object detectors ask for several levels, and do not fit;
    `keras_iwm.downstream.ImageSegmenter` takes any encoder.

    `from_preset` and `save_to_preset` are KerasHub's: they take folders of backbones.
    An encoder is loaded by itself, `EncoderBackbone(ViTEncoder.from_preset(preset))`.

    Args:
        encoder: `keras_iwm.backbones.ViTEncoder`. It is not copied.
        dtype: Optional, the encoder's own. In `from_preset` it may be another: the
            encoder is made with it.
        trainable: Boolean. If `False`, all weights are frozen.
        **kwargs: Passed to `keras.Model`: `name`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` in the
            encoder's `value_range`.
        training: Boolean, whether to drop paths.

    Returns:
        Tensor of shape `(batch_size, rows, columns, hidden_dim)`, a latent for each
        patch of the grid.

    Raises:
        ValueError: If `encoder` is none, or `dtype` is not the encoder's.

    Example:

    ```python
    import keras_hub
    import keras_iwm.kerashub

    encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")
    backbone = keras_iwm.kerashub.EncoderBackbone(encoder)
    classifier = keras_hub.models.ImageClassifier(backbone, num_classes=10)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
    classifier.predict(images, verbose=0)  # (4, 10)
    ```
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        dtype: DType | None = None,
        trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        needed = ("image_size", "num_channels", "patch_size", "grid_size", "hidden_dim")
        as_object("encoder", encoder, needed, "an encoder such as a ViTEncoder")
        policy = encoder.dtype_policy
        serialize = keras.dtype_policies.serialize  # policies by layer do not compare
        if dtype is not None and (
            serialize(keras.dtype_policies.get(dtype)) != serialize(policy)
        ):
            raise ValueError(
                f"`dtype` must be the encoder's, {policy}. Received: {dtype!r}. Make "
                "the encoder with it."
            )
        self.encoder = encoder
        self.data_format = "channels_last"
        images = keras.Input((*encoder.image_size, encoder.num_channels), name="images")
        grid = keras.layers.Reshape(
            (*encoder.grid_size, encoder.hidden_dim), dtype=policy, name="grid"
        )(encoder(images))
        super().__init__(inputs=images, outputs=grid, dtype=policy, **kwargs)
        level = encoder.patch_size.bit_length() - 1
        if encoder.patch_size == 2**level:
            self.pyramid_outputs = {f"P{level}": grid}
        # Not what it is already: that would melt what is frozen in the encoder.
        if not trainable:
            self.trainable = False

    def default_lora_layer_names(self) -> list[str]:
        """Return the layers that `enable_lora` is for unless it is told others."""
        return ["query_key_value"]

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a backbone from its config, in the `dtype` that KerasHub puts there."""
        config = dict(config)
        dtype = config.pop("dtype", None)
        encoder = config["encoder"]
        if dtype is not None:
            encoder = {**encoder, "config": {**encoder["config"], "dtype": dtype}}
        encoder = keras.saving.deserialize_keras_object(encoder)
        return cls(**{**config, "encoder": encoder})
