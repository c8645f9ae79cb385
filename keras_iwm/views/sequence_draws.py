"""In which order a step goes through the patches of its images."""

import keras
from keras import ops

from keras_iwm.seeds import hash_seed


class SequenceDraws(keras.layers.Layer):
    """Draw an order and a prefix for each image, as far as a model asks for them.

    Args:
        patch_ids: Int32 array of shape `(num_patches,)`, the order of all images.
        is_random: Boolean, whether to draw an order for each in place of it.
        has_prefix: Boolean, whether to draw prefixes.
        seed: Optional integer. Without training the draws are the same in every call.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        images: Tensor, whose first side is the number of images.
        training: Boolean, whether to draw anew in every call.

    Returns:
        Int32 tensor of shape `(batch_size, num_patches)`, the patches in their order,
        and one of shape `(batch_size,)`, lengths from 1 to all patches but one, or
        `None`.
    """

    def __init__(self, patch_ids, is_random, has_prefix, seed, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.patch_ids = patch_ids
        self.is_random = is_random
        self.has_prefix = has_prefix
        self.seed_generator = keras.random.SeedGenerator(
            None if seed is None else hash_seed(seed, 2)
        )
        self._evaluation_seed = hash_seed(seed or 0, 3)
        self.built = True

    def call(self, images, training=None):
        """Draw; see the class."""
        batch_size, num_patches = ops.shape(images)[0], len(self.patch_ids)
        num_draws = num_patches * self.is_random + self.has_prefix
        if num_draws:
            uniforms = keras.random.uniform(
                (batch_size, num_draws),
                dtype="float32",
                seed=self.seed_generator if training else self._evaluation_seed,
            )
        if self.is_random:
            patch_ids = ops.argsort(uniforms[:, :num_patches], axis=1)
        else:
            patch_ids = ops.broadcast_to(self.patch_ids, (batch_size, num_patches))
        prefix_lengths = None
        if self.has_prefix:
            drawn = ops.cast(uniforms[:, -1] * (num_patches - 1), "int32")
            # Rounding may reach the upper end.
            prefix_lengths = ops.minimum(1 + drawn, num_patches - 1)
        return ops.cast(patch_ids, "int32"), prefix_lengths
