"""How long generation takes with cached keys and values, and without.

Both ways make the same images with the same weights; without a cache the whole sequence
goes through the encoder for every patch. They are timed in turns. One row for each
number of patches:

    python benchmarks/generation.py
"""

import argparse
import functools
import time

import keras
import numpy as np
from keras import ops

from keras_iwm.backbones import ViTEncoder
from keras_iwm.models import AutoregressiveModel


class WithoutCache(keras.Model):
    """Predict each patch by a pass over all of them."""

    def __init__(self, model):
        super().__init__(autocast=False)
        self.causal_encoder, self.head = model.causal_encoder, model.head
        self.conditions = model.conditions
        self.built = True

    def call(self, inputs):
        """Go through the patches, in raster order."""
        patches = inputs["patches"]
        num_patches = patches.shape[1]
        encoder = self.causal_encoder.encoder
        ids = ops.broadcast_to(
            self.causal_encoder.patch_ids, (patches.shape[0], num_patches)
        )
        places = ops.arange(num_patches, dtype="int32")
        mask = places[:, None] >= places
        positions = ops.convert_to_tensor(
            encoder.position_embedding.positions_of(encoder.grid_size)
        )
        start, _ = self.causal_encoder.start_cache(patches.shape[0])

        def take_step(index, patches):
            tokens = encoder.patch_embedding.projection(patches) + positions
            tokens = ops.concatenate([start, tokens[:, :-1]], axis=1)
            for block in encoder.blocks:
                tokens = block(tokens, mask)
            latent = ops.take(encoder.norm(tokens), index, axis=1)
            patch = self.head.sample(self.conditions(latent, ops.take(ids, index, 1)))
            is_here = (places == index)[None, :, None]
            return ops.where(is_here, patch[:, None], patches)

        return ops.fori_loop(0, num_patches, take_step, patches)


def measure(ways, repeats):
    """Seconds of each way, the fastest of some turns, and what each has returned."""
    results = [way() for way in ways]  # compiles
    seconds = [float("inf")] * len(ways)
    for _ in range(repeats):
        for index, way in enumerate(ways):
            start = time.perf_counter()
            way()
            seconds[index] = min(seconds[index], time.perf_counter() - start)
    return seconds, results


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-images", type=int, default=4)
    parser.add_argument("--grids", type=int, nargs="+", default=(4, 8, 16))
    parser.add_argument("--hidden-dim", type=int, default=192)
    parser.add_argument("--num-layers", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"backend {keras.backend.backend()}, {options.num_images} images")
    print("| patches | cached, s | without, s | ratio | largest difference |")
    print("|---|---|---|---|---|")
    for side in options.grids:
        encoder = ViTEncoder(
            4 * side, 4, options.hidden_dim, options.num_layers, 3, std=0.01
        )
        model = AutoregressiveModel.from_encoder(
            encoder, crop=None, normalize_targets=False, head_layers=1
        )
        kernel = model.head.output_projection.kernel
        draws = np.random.default_rng(0)
        kernel.assign(draws.normal(0, 0.1, kernel.shape).astype("float32"))
        inputs = {
            "patches": np.zeros((options.num_images, side**2, 48), "float32"),
            "patch_ids": np.tile(
                np.arange(side**2, dtype="int32"), (options.num_images, 1)
            ),
            "num_first": np.zeros(options.num_images, "int32"),
            "seed": np.zeros(options.num_images, "int32"),
        }
        models = (model.generator(options.num_images, 1.0), WithoutCache(model))
        ways = [functools.partial(each.predict_on_batch, inputs) for each in models]
        (cached, without), results = measure(ways, options.repeats)
        difference = np.abs(results[0] - results[1]).max()
        print(
            f"| {side**2} | {cached:.3f} | {without:.3f} | {without / cached:.1f} | "
            f"{difference:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
