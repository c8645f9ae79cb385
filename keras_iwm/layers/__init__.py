"""Parts of networks: patches, positions, attention, blocks, actions, pooling."""

from keras_iwm.layers.action_features import ActionFeatures as ActionFeatures
from keras_iwm.layers.action_tokens import ActionTokens as ActionTokens
from keras_iwm.layers.attentive_pooling import AttentivePooling as AttentivePooling
from keras_iwm.layers.normalize_latents import normalize_latents as normalize_latents
from keras_iwm.layers.patch_embedding import PatchEmbedding as PatchEmbedding
from keras_iwm.layers.patch_pixels import images_of_patches as images_of_patches
from keras_iwm.layers.patch_pixels import normalize_patches as normalize_patches
from keras_iwm.layers.patch_pixels import patch_pixels as patch_pixels
from keras_iwm.layers.rotary_positions import rotary_positions as rotary_positions
from keras_iwm.layers.self_attention import SelfAttention as SelfAttention
from keras_iwm.layers.sincos_positions import sincos_positions as sincos_positions
from keras_iwm.layers.sliced_gaussian_regularizer import (
    SlicedGaussianRegularizer as SlicedGaussianRegularizer,
)
from keras_iwm.layers.token_dense import TokenDense as TokenDense
from keras_iwm.layers.token_norm import TokenNorm as TokenNorm
from keras_iwm.layers.transformer_block import TransformerBlock as TransformerBlock
from keras_iwm.layers.tubelet_embedding import TubeletEmbedding as TubeletEmbedding
from keras_iwm.layers.variance_covariance_regularizer import (
    VarianceCovarianceRegularizer as VarianceCovarianceRegularizer,
)
