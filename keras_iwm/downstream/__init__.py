"""Reuse of a pretrained world model: probes, finetuning, many tasks."""

from keras_iwm.downstream.attentive_head import AttentiveHead as AttentiveHead
from keras_iwm.downstream.attentive_probe import attentive_probe as attentive_probe
from keras_iwm.downstream.deeplab_head import DeepLabHead as DeepLabHead
from keras_iwm.downstream.finetuning_recipe import (
    finetuning_recipe as finetuning_recipe,
)
from keras_iwm.downstream.image_classifier import ImageClassifier as ImageClassifier
from keras_iwm.downstream.image_segmenter import ImageSegmenter as ImageSegmenter
from keras_iwm.downstream.latent_predictor import LatentPredictor as LatentPredictor
from keras_iwm.downstream.linear_head import LinearHead as LinearHead
from keras_iwm.downstream.linear_probe import linear_probe as linear_probe
from keras_iwm.downstream.linear_probe_model import LinearProbeModel as LinearProbeModel
from keras_iwm.downstream.low_shot_probe import low_shot_probe as low_shot_probe
from keras_iwm.downstream.multi_task_model import MultiTaskModel as MultiTaskModel
from keras_iwm.downstream.world_model_backbone import (
    WorldModelBackbone as WorldModelBackbone,
)
