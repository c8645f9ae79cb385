"""Pictures of views, retrieval, latents and runs; needs matplotlib."""

from keras_iwm.visualization.plot_patch_pca import plot_patch_pca as plot_patch_pca
from keras_iwm.visualization.plot_retrieval import plot_retrieval as plot_retrieval
from keras_iwm.visualization.plot_training_curves import (
    plot_training_curves as plot_training_curves,
)
from keras_iwm.visualization.plot_views import plot_views as plot_views
