"""Measurement of world models and of the features they learn."""

from keras_iwm.evaluation.action_probes import action_r2 as action_r2
from keras_iwm.evaluation.camera_distance import camera_distance as camera_distance
from keras_iwm.evaluation.compare_features import compare_features as compare_features
from keras_iwm.evaluation.dynamics_evaluator import (
    DynamicsEvaluator as DynamicsEvaluator,
)
from keras_iwm.evaluation.dynamics_report import dynamics_report as dynamics_report
from keras_iwm.evaluation.energy_landscape import energy_landscape as energy_landscape
from keras_iwm.evaluation.equivariance_evaluator import (
    EquivarianceEvaluator as EquivarianceEvaluator,
)
from keras_iwm.evaluation.equivariance_report import (
    equivariance_report as equivariance_report,
)
from keras_iwm.evaluation.evaluate_surprise import (
    evaluate_surprise as evaluate_surprise,
)
from keras_iwm.evaluation.evaluate_world_model import (
    evaluate_world_model as evaluate_world_model,
)
from keras_iwm.evaluation.extract_features import extract_features as extract_features
from keras_iwm.evaluation.flops_per_image import flops_per_image as flops_per_image
from keras_iwm.evaluation.intervention_evaluator import (
    InterventionEvaluator as InterventionEvaluator,
)
from keras_iwm.evaluation.intervention_report import (
    intervention_report as intervention_report,
)
from keras_iwm.evaluation.intervention_table import (
    intervention_table as intervention_table,
)
from keras_iwm.evaluation.loss_by_position import loss_by_position as loss_by_position
from keras_iwm.evaluation.nearest_neighbors import (
    nearest_neighbors as nearest_neighbors,
)
from keras_iwm.evaluation.planning_report import planning_report as planning_report
from keras_iwm.evaluation.probes import knn_accuracy as knn_accuracy
from keras_iwm.evaluation.probes import ridge_accuracy as ridge_accuracy
from keras_iwm.evaluation.report_table import report_table as report_table
from keras_iwm.evaluation.retrieval_bank import RetrievalBank as RetrievalBank
from keras_iwm.evaluation.surprise import surprise as surprise
from keras_iwm.evaluation.untrained_copy import untrained_copy as untrained_copy
from keras_iwm.evaluation.world_model_evaluator import (
    WorldModelEvaluator as WorldModelEvaluator,
)
