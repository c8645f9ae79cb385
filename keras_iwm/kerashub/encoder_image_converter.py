"""Images of any size to the size of an encoder."""

from typing import Any

import keras
import keras_hub

from keras_iwm.arguments import as_boolean, as_size
from keras_iwm.kerashub.encoder_backbone import EncoderBackbone
from keras_iwm.type_aliases import Size


@keras.saving.register_keras_serializable(package="keras_iwm")
class EncoderImageConverter(keras_hub.layers.ImageConverter):
    """Resize images for an `EncoderBackbone`.

    It leaves the range of pixels alone, since the encoder normalises. By default the
    middle of an image is kept where the sides' ratio is another.

    Args:
        image_size: Integer or pair of integers (height, width): the encoder's
            `image_size`.
        antialias: Boolean, whether to smooth what is made smaller, as the views of
            pretraining are.
        **kwargs: Passed to `keras_hub.layers.ImageConverter`:
            `crop_to_aspect_ratio`, `pad_to_aspect_ratio`, `interpolation` and more.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` or without
            the first axis.

    Returns:
        Tensor of the same rank and range, of `image_size`.

    Raises:
        ValueError: If an argument cannot be meant.

    Example:

    ```python
    import keras_iwm.kerashub

    converter = keras_iwm.kerashub.EncoderImageConverter(image_size=32)
    photos = np.random.default_rng(0).integers(0, 256, (4, 120, 200, 3), "uint8")
    images = converter(photos)  # (4, 32, 32, 3)
    ```
    """

    backbone_cls = EncoderBackbone

    def __init__(self, image_size: Size, antialias: bool = True, **kwargs: Any) -> None:
        super().__init__(
            as_size("image_size", image_size),
            antialias=as_boolean("antialias", antialias),
            **{"data_format": "channels_last", **kwargs},
        )
