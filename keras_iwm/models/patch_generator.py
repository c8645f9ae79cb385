"""The loop that makes images patch by patch."""

import keras
import numpy as np
from keras import ops

from keras_iwm.backend import KeptState


class PatchGenerator(KeptState, keras.Model):
    """Draw the patches of a number of images, each from those before it.

    Encoder and head are those of an `AutoregressiveModel`. Keys and values of earlier
    patches are kept in a cache of fixed size, so all steps are the same program.

    Args:
        model: `AutoregressiveModel`.
        num_images: Integer.
        temperature: Float, see its `generate`.

    Call arguments:
        inputs: Dictionary of arrays: `"patches"`, float32 of shape `(num_images,
            num_patches, patch_dim)`, normalised pixels in the order, and `"patch_ids"`,
            int32 of shape `(num_images, num_patches)`, the order; `"num_first"`, int32,
            how many of the patches are kept, and `"seed"`, int32, both of shape
            `(num_images,)` and the same for all.

    Returns:
        Float32 tensor of the shape of `"patches"`.
    """

    def __init__(self, model, num_images, temperature):
        super().__init__(autocast=False, name="patch_generator")
        self.causal_encoder = model.causal_encoder
        self.head = model.head
        self.num_images = num_images
        self.temperature = temperature
        self.seed_dtype = model.sequence_draws.seed_generator.state.dtype
        encoder = model.encoder
        mean, std = np.array(encoder.mean), np.array(encoder.std)
        repeats = encoder.patch_size**2
        # What the ends of the range of values are, as normalised pixels of a patch.
        self.ends = [
            np.tile((end - mean) / std, repeats).astype("float32") for end in (0, 1)
        ]
        self.conditions = model.conditions
        self.built = True

    def call(self, inputs, training=None):
        """Go through the patches."""
        patches, patch_ids = inputs["patches"], inputs["patch_ids"]
        num_first, seed = inputs["num_first"][0], inputs["seed"][0]
        places = ops.arange(patches.shape[1], dtype="int32")
        low, high = map(ops.convert_to_tensor, self.ends)

        def take_step(index, state):
            token, patches, cache = state
            latent, cache = self.causal_encoder.extend(token, cache, index)
            ids = ops.take(patch_ids, index, axis=1)
            drawn = self.head.sample(
                self.conditions(latent[:, 0], ids),
                temperature=self.temperature,
                seed=_StepSeeds(seed, index, self.seed_dtype),
            )
            given = ops.take(patches, index, axis=1)
            patch = ops.where(index < num_first, given, ops.clip(drawn, low, high))
            is_here = (places == index)[None, :, None]
            patches = ops.where(is_here, patch[:, None], patches)
            return self.causal_encoder.embed_patch(patch, ids), patches, cache

        token, cache = self.causal_encoder.start_cache(self.num_images)
        state = (token, patches, cache)
        return ops.fori_loop(0, patches.shape[1], take_step, state)[1]


class _StepSeeds(keras.random.SeedGenerator):
    """Seeds of a step of a loop: they follow from its number.

    A generator's state would have to leave a compiled loop.
    """

    def __init__(self, seed, index, dtype):
        # Without a state there is nothing that the class above would make.
        self.seed, self.index, self.dtype = seed, index, dtype
        self.num_drawn = 0

    def next(self, ordered=True):
        """Return the next seed of the step."""
        self.num_drawn += 1
        place = 1000 * ops.cast(self.index, "int32") + self.num_drawn
        return ops.cast(ops.stack([ops.cast(self.seed, "int32"), place]), self.dtype)
