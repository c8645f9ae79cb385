"""Image world models in Keras 3, on JAX, TensorFlow and Torch."""

from keras_iwm.choose_backend import choose_backend

choose_backend()

from keras_iwm import actions as actions
from keras_iwm import backbones as backbones
from keras_iwm import callbacks as callbacks
from keras_iwm import datasets as datasets
from keras_iwm import distribution as distribution
from keras_iwm import downstream as downstream
from keras_iwm import embeddings as embeddings
from keras_iwm import evaluation as evaluation
from keras_iwm import heads as heads
from keras_iwm import layers as layers
from keras_iwm import metrics as metrics
from keras_iwm import models as models
from keras_iwm import optimizers as optimizers
from keras_iwm import planning as planning
from keras_iwm import saving as saving
from keras_iwm import sizing as sizing
from keras_iwm import views as views
from keras_iwm import visualization as visualization
from keras_iwm.version import __version__ as __version__
