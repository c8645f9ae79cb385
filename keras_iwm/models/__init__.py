"""Models: encoder, predictor, and the image world model that is fitted."""

from keras_iwm.models.image_world_model import ImageWorldModel as ImageWorldModel
from keras_iwm.models.presets import PRESETS as PRESETS
from keras_iwm.models.vit_encoder import ViTEncoder as ViTEncoder
from keras_iwm.models.world_model_predictor import (
    WorldModelPredictor as WorldModelPredictor,
)
