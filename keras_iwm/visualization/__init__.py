"""Pictures of views, retrieval, latents, attention and runs; needs matplotlib."""

from keras_iwm.visualization.plot_action_sweep import (
    plot_action_sweep as plot_action_sweep,
)
from keras_iwm.visualization.plot_attention import plot_attention as plot_attention
from keras_iwm.visualization.plot_clip import plot_clip as plot_clip
from keras_iwm.visualization.plot_completions import (
    plot_completions as plot_completions,
)
from keras_iwm.visualization.plot_energy_landscape import (
    plot_energy_landscape as plot_energy_landscape,
)
from keras_iwm.visualization.plot_interventions import (
    plot_interventions as plot_interventions,
)
from keras_iwm.visualization.plot_method_comparison import (
    plot_method_comparison as plot_method_comparison,
)
from keras_iwm.visualization.plot_model_comparison import (
    plot_model_comparison as plot_model_comparison,
)
from keras_iwm.visualization.plot_moved_latents import (
    plot_moved_latents as plot_moved_latents,
)
from keras_iwm.visualization.plot_neighbors import plot_neighbors as plot_neighbors
from keras_iwm.visualization.plot_patch_orders import (
    plot_patch_orders as plot_patch_orders,
)
from keras_iwm.visualization.plot_patch_pca import plot_patch_pca as plot_patch_pca
from keras_iwm.visualization.plot_plan import plot_plan as plot_plan
from keras_iwm.visualization.plot_reconstructions import (
    plot_reconstructions as plot_reconstructions,
)
from keras_iwm.visualization.plot_retrieval import plot_retrieval as plot_retrieval
from keras_iwm.visualization.plot_rollout import plot_rollout as plot_rollout
from keras_iwm.visualization.plot_segmentation import (
    plot_segmentation as plot_segmentation,
)
from keras_iwm.visualization.plot_surprise import plot_surprise as plot_surprise
from keras_iwm.visualization.plot_training_curves import (
    plot_training_curves as plot_training_curves,
)
from keras_iwm.visualization.plot_tuned_parameters import (
    plot_tuned_parameters as plot_tuned_parameters,
)
from keras_iwm.visualization.plot_undo import plot_undo as plot_undo
from keras_iwm.visualization.plot_view_pairs import plot_view_pairs as plot_view_pairs
from keras_iwm.visualization.plot_views import plot_views as plot_views
from keras_iwm.visualization.save_figure import save_figure as save_figure
