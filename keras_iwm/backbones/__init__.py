"""Networks that are parts of what is fitted: encoder, predictor, and their presets."""

from keras_iwm.backbones.causal_encoder import CausalEncoder as CausalEncoder
from keras_iwm.backbones.dynamics_predictor import (
    DynamicsPredictor as DynamicsPredictor,
)
from keras_iwm.backbones.last_blocks import LastBlocks as LastBlocks
from keras_iwm.backbones.presets import PRESETS as PRESETS
from keras_iwm.backbones.read_published import read_published as read_published
from keras_iwm.backbones.save_transformers import save_transformers as save_transformers
from keras_iwm.backbones.video_encoder import VideoEncoder as VideoEncoder
from keras_iwm.backbones.vit_encoder import ViTEncoder as ViTEncoder
from keras_iwm.backbones.world_model_predictor import (
    WorldModelPredictor as WorldModelPredictor,
)
