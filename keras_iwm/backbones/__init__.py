"""Networks that are parts of what is fitted: encoder, predictor, and their presets."""

from keras_iwm.backbones.presets import PRESETS as PRESETS
from keras_iwm.backbones.vit_encoder import ViTEncoder as ViTEncoder
from keras_iwm.backbones.world_model_predictor import (
    WorldModelPredictor as WorldModelPredictor,
)
