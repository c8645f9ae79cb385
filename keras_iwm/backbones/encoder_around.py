"""A model around an encoder, to be used as one."""

from typing import Any

import keras

from keras_iwm.arguments import as_object
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.type_aliases import AnyModel, Config

FACTS = ("image_size", "grid_size", "num_patches", "hidden_dim", "num_channels")
FACTS = (*FACTS, "num_layers", "value_range", "input_signature")


class EncoderAround(ComposedModel):
    """Base class of what makes latents of images by an encoder, in a way of its own.

    It has what everything asks of an encoder that measures features, and the encoder's
    precision. `call` takes `images`, `training` and `return_intermediates`.

    Args:
        encoder: `ViTEncoder`.
        **kwargs: Passed to `keras.Model`: `name`, `trainable`.
    """

    def __init__(self, encoder: AnyModel, **kwargs: Any) -> None:
        as_object("encoder", encoder, FACTS, "an encoder such as a ViTEncoder")
        super().__init__(autocast=False, **{"dtype": encoder.dtype_policy, **kwargs})
        self.encoder = encoder
        self.image_size = encoder.image_size
        self.grid_size = encoder.grid_size
        self.num_patches = encoder.num_patches
        self.num_layers = encoder.num_layers
        self.hidden_dim = encoder.hidden_dim
        self.num_channels = encoder.num_channels
        self.value_range = encoder.value_range

    @property
    def input_signature(self) -> list[Any]:
        """What `call` takes, for `export`."""
        return self.encoder.input_signature

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }
