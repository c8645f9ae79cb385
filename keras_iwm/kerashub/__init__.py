"""An encoder as a backbone of KerasHub, with all that its tasks ask for.

An optional room: `pip install "keras-iwm[kerashub]"`, then `import keras_iwm.kerashub`.
"""

try:
    import keras_hub as keras_hub
except ImportError as error:
    raise ImportError(
        "keras_iwm.kerashub needs KerasHub, which cannot be imported "
        f'({error}). Install it: pip install "keras-iwm[kerashub]"'
    ) from error

from keras_iwm.kerashub.encoder_backbone import EncoderBackbone as EncoderBackbone
from keras_iwm.kerashub.encoder_image_classifier import (
    EncoderImageClassifier as EncoderImageClassifier,
)
from keras_iwm.kerashub.encoder_image_classifier_preprocessor import (
    EncoderImageClassifierPreprocessor as EncoderImageClassifierPreprocessor,
)
from keras_iwm.kerashub.encoder_image_converter import (
    EncoderImageConverter as EncoderImageConverter,
)
