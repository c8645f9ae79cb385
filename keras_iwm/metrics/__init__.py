"""Measures of world models and of representations."""

from keras_iwm.metrics.alpha_req import alpha_req as alpha_req
from keras_iwm.metrics.hit_rate import HitRate as HitRate
from keras_iwm.metrics.lidar import lidar as lidar
from keras_iwm.metrics.mean_intersection_over_union import (
    MeanIntersectionOverUnion as MeanIntersectionOverUnion,
)
from keras_iwm.metrics.mean_reciprocal_rank import (
    MeanReciprocalRank as MeanReciprocalRank,
)
from keras_iwm.metrics.rank_me import feature_spread as feature_spread
from keras_iwm.metrics.rank_me import rank_me as rank_me
from keras_iwm.metrics.ranks import ranks_from_distances as ranks_from_distances
from keras_iwm.metrics.ranks import reciprocal_rank_chance as reciprocal_rank_chance
from keras_iwm.metrics.ranks import retrieval_distances as retrieval_distances
from keras_iwm.metrics.ranks import retrieval_ranks as retrieval_ranks
from keras_iwm.metrics.uniformity import uniformity as uniformity
