"""What an image classifier of KerasHub does before the network."""

import keras
import keras_hub

from keras_iwm.kerashub.encoder_backbone import EncoderBackbone
from keras_iwm.kerashub.encoder_image_converter import EncoderImageConverter


@keras.saving.register_keras_serializable(package="keras_iwm")
class EncoderImageClassifierPreprocessor(keras_hub.models.ImageClassifierPreprocessor):
    """Resize images, and leave labels alone, for an `EncoderImageClassifier`.

    KerasHub finds it when it loads a classifier from a preset.

    Args:
        image_converter: Optional `EncoderImageConverter`. By default images are left
            as they are.
        **kwargs: Passed to `keras_hub.models.ImageClassifierPreprocessor`.

    Call arguments:
        x: Images.
        y: Optional labels.
        sample_weight: Optional weights.

    Returns:
        Converted images, in a tuple with `y` and `sample_weight` if these are given.

    Example:

    ```python
    import keras_iwm.kerashub

    preprocessor = keras_iwm.kerashub.EncoderImageClassifierPreprocessor(
        keras_iwm.kerashub.EncoderImageConverter(image_size=32)
    )
    photos = np.random.default_rng(0).integers(0, 256, (4, 120, 200, 3), "uint8")
    images, labels = preprocessor(photos, np.array([0, 1, 2, 0]))
    ```
    """

    backbone_cls = EncoderBackbone
    image_converter_cls = EncoderImageConverter
