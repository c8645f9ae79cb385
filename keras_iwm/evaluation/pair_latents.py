"""Pooled latents of pairs of views, and the actions between them."""

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from keras_iwm.backend import KeptState
from keras_iwm.distribution.device_batches import even_batch


class PairLatents(KeptState, keras.Model):
    """Pooled latents of source and target views whose parameters are given.

    Args:
        view_generator: `ViewGenerator` with the operations.
        encoders: Tuple of `ViTEncoder`s, all of which see the same views.
    """

    def __init__(self, view_generator, encoders):
        super().__init__(dtype="float32", autocast=False)
        self.encoders = list(encoders)
        self.action_space = view_generator.action_space
        # Methods, not the layer, which would be tracked and never be built.
        self.apply_shared = view_generator.apply_shared
        self.apply_destructive = view_generator.apply_destructive
        self.built = True

    def of_pairs(self, images, num_pairs, seed, batch_size, verbose):
        """Latents and actions of pairs of views, in which the images take turns.

        Args:
            images: NumPy array of shape `(num_images, height, width, num_channels)`.
            num_pairs: Integer, how many pairs to make.
            seed: Tuple of integers, the seed of the draws.
            batch_size: Integer, the pairs that are embedded at once.
            verbose: Boolean, whether to show progress over the batches.

        Returns:
            List of float32 NumPy arrays `(num_pairs, 2 * hidden_dim)`, one for each
            encoder, source before target; and the actions `(num_pairs, action_dim)`.
        """
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(images))
        space = self.action_space
        draws = 2 * space.shared.num_draws + space.destructive.num_draws
        uniforms = generator.random((num_pairs, draws), dtype="float32")
        batch_size = even_batch(min(batch_size, num_pairs))
        outputs = []
        starts = range(0, num_pairs, batch_size)
        for start in tqdm(starts, "Pairs of views", disable=not verbose):
            # The last batch is filled up, so that only one shape is compiled.
            pairs = np.arange(start, start + batch_size) % num_pairs
            chosen = order[pairs % len(images)]
            outputs.append(
                self.predict_on_batch(
                    {
                        "images": images[chosen].astype("float32"),
                        "uniforms": uniforms[pairs],
                    }
                )
            )
        outputs = {
            key: np.concatenate([batch[key] for batch in outputs])[:num_pairs]
            for key in outputs[0]
        }
        actions = outputs.pop("action")
        return [outputs[f"latents_{i}"] for i in range(len(self.encoders))], actions

    def call(self, inputs):
        """Make the views and embed them."""
        images, uniforms = inputs["images"], inputs["uniforms"]
        space, count = self.action_space, self.action_space.shared.num_draws
        target_parameters = space.shared.sample(uniforms[:, :count])
        source_parameters = space.shared.sample(uniforms[:, count : 2 * count])
        destructive_parameters = space.destructive.sample(uniforms[:, 2 * count :])
        target = self.apply_shared(images, target_parameters)
        source = self.apply_shared(images, source_parameters)
        source = self.apply_destructive(source, destructive_parameters)
        outputs = {}
        for index, encoder in enumerate(self.encoders):
            pooled = [
                ops.mean(ops.cast(encoder(view, training=False), "float32"), axis=1)
                for view in (source, target)
            ]
            outputs[f"latents_{index}"] = ops.concatenate(pooled, axis=-1)
        outputs["action"] = space.between(
            source_parameters,
            target_parameters,
            space.destructive.touched(destructive_parameters),
        )
        return outputs
