"""Search for the actions that lead to a goal, in the latents of a dynamics model."""

from keras_iwm.planning.cross_entropy_planner import (
    CrossEntropyPlanner as CrossEntropyPlanner,
)
from keras_iwm.planning.greedy_planner import GreedyPlanner as GreedyPlanner
from keras_iwm.planning.path_integral_planner import (
    PathIntegralPlanner as PathIntegralPlanner,
)
from keras_iwm.planning.plan import Plan as Plan
from keras_iwm.planning.planner import Planner as Planner
from keras_iwm.planning.random_planner import RandomPlanner as RandomPlanner
