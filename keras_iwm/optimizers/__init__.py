"""The optimizer and the pretraining recipe."""

from keras_iwm.optimizers.adamw import AdamW as AdamW
from keras_iwm.optimizers.pretraining_recipe import (
    pretraining_recipe as pretraining_recipe,
)
