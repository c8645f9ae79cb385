"""From images to what a training step needs: crops, masks, views."""

from keras_iwm.views.clip_view_generator import (
    ClipViewGenerator as ClipViewGenerator,
)
from keras_iwm.views.multi_block_mask import MultiBlockMask as MultiBlockMask
from keras_iwm.views.patch_order import mean_jump_length as mean_jump_length
from keras_iwm.views.patch_order import patch_order as patch_order
from keras_iwm.views.quadrant_mask import QuadrantMask as QuadrantMask
from keras_iwm.views.random_mask import RandomMask as RandomMask
from keras_iwm.views.random_resized_crop import RandomResizedCrop as RandomResizedCrop
from keras_iwm.views.two_view_generator import TwoViewGenerator as TwoViewGenerator
from keras_iwm.views.video_block_mask import VideoBlockMask as VideoBlockMask
from keras_iwm.views.view_generator import ViewGenerator as ViewGenerator
