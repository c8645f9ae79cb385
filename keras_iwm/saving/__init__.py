"""Model files that may come from anyone."""

from keras_iwm.saving.check_file import check_file as check_file
from keras_iwm.saving.load_encoder import load_encoder as load_encoder
from keras_iwm.saving.load_model import load_model as load_model
from keras_iwm.saving.save_shards import save_shards as save_shards
