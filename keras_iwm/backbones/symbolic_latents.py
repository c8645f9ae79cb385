"""What an encoder makes of images that are not there yet."""

import math

import keras

from keras_iwm.layers.patch_embedding import grid_of


def symbolic_latents(encoder, images, patch_ids):
    """Return the tokens behind each part of an encoder as symbolic tensors, by name."""
    num_patches = None
    if patch_ids is not None:
        num_patches = patch_ids.shape[1]
    elif None not in images.shape[1:3]:
        grid_size = grid_of(images, encoder.patch_size, encoder.num_channels)
        num_patches = math.prod(grid_size)
    shape = (images.shape[0], num_patches, encoder.hidden_dim)
    names = ("stem", *(block.name for block in encoder.blocks), "norm")
    return {
        name: keras.KerasTensor(shape, dtype=encoder.compute_dtype) for name in names
    }
