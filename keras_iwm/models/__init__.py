"""What is fitted: one file a method."""

from keras_iwm.models.image_world_model import ImageWorldModel as ImageWorldModel
