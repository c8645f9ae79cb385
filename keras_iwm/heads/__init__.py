"""Heads: from what a transformer says of a patch to the patch itself."""

from keras_iwm.heads.denoising_steps_head import (
    DenoisingStepsHead as DenoisingStepsHead,
)
from keras_iwm.heads.diffusion_head import DiffusionHead as DiffusionHead
from keras_iwm.heads.squared_error_head import SquaredErrorHead as SquaredErrorHead
