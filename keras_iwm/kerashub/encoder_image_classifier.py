"""KerasHub's image classifier for encoders."""

import keras
import keras_hub

from keras_iwm.kerashub.encoder_backbone import EncoderBackbone
from keras_iwm.kerashub.encoder_image_classifier_preprocessor import (
    EncoderImageClassifierPreprocessor,
)


@keras.saving.register_keras_serializable(package="keras_iwm")
class EncoderImageClassifier(keras_hub.models.ImageClassifier):
    """KerasHub's image classifier on the mean latent of an `EncoderBackbone`.

    It is `keras_hub.models.ImageClassifier`, and what the `from_preset` of that class
    makes of the folder of an `EncoderBackbone`. KerasHub does not load folders that its
    base class has written, so take this one where a classifier is to be a preset.

    Args:
        backbone: `EncoderBackbone`.
        num_classes: Integer, the number of classes.
        preprocessor: Optional `EncoderImageClassifierPreprocessor`.
        **kwargs: Passed to `keras_hub.models.ImageClassifier`: `pooling`,
            `activation`, `dropout`, `head_dtype`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)`. `fit`,
            `predict` and `evaluate` put them through the preprocessor first.

    Returns:
        Tensor of shape `(batch_size, num_classes)`, logits by default.

    Example:

    ```python
    import keras_hub
    import keras_iwm.kerashub

    encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")
    classifier = keras_iwm.kerashub.EncoderImageClassifier(
        keras_iwm.kerashub.EncoderBackbone(encoder),
        num_classes=3,
        preprocessor=keras_iwm.kerashub.EncoderImageClassifierPreprocessor(
            keras_iwm.kerashub.EncoderImageConverter(image_size=encoder.image_size)
        ),
    )
    classifier.save_to_preset("classifier")
    same = keras_hub.models.ImageClassifier.from_preset("classifier")
    photos = np.random.default_rng(0).integers(0, 256, (4, 120, 200, 3), "uint8")
    same.predict(photos, verbose=0)  # (4, 3)
    ```
    """

    backbone_cls = EncoderBackbone
    preprocessor_cls = EncoderImageClassifierPreprocessor
