"""What an autoregressive model generates images with."""

import functools
import random
from typing import Any

import numpy as np
from keras import ops

from keras_iwm.arguments import as_count, as_number, as_optional
from keras_iwm.array_arguments import check_images
from keras_iwm.layers.patch_pixels import images_of_patches
from keras_iwm.models.patch_generator import PatchGenerator
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Array


class ImageGeneration:
    """The part of an `AutoregressiveModel` that makes images."""

    @functools.cached_property
    def generator(self) -> Any:
        """Function from a number of images and a temperature to a `PatchGenerator`."""
        return functools.lru_cache(functools.partial(PatchGenerator, self))

    def generate(
        self,
        num_images: int | None = None,
        images: Array | None = None,
        num_first: int | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> np.ndarray:
        """Make images patch by patch, from nothing or from the first patches of others.

        Every patch is drawn by the head and then read by the encoder, which keeps keys
        and values of those before: one pass of one token a patch. The loop is compiled
        once for each number of images and temperature. All images are made at once.

        Args:
            num_images: Optional integer, how many to make from nothing.
            images: Optional array in place of it, of shape `(num_images, height, width,
                num_channels)`: images to complete.
            num_first: Optional integer, how many patches of `images` are kept, in the
                model's order. Defaults to half of them.
            temperature: Float of at least 0, how much of its noise the head draws. A
                `SquaredErrorHead` draws none.
            seed: Optional integer. By default other images are made at every call.

        Returns:
            Float32 NumPy array of images in `value_range`.

        Raises:
            ValueError: If the model normalises its targets, and so never says how
                bright a patch is; if it has prefix attention, so that it never learns
                a first patch, and none is given; or if an argument cannot be meant.

        Example:

        ```python
        model = keras_iwm.models.AutoregressiveModel.from_preset(
            "autoregressive_tiny_32", load_weights=False, normalize_targets=False
        )
        pictures = model.generate(2, seed=0)  # (2, 32, 32, 3)
        completed = model.generate(images=pictures, num_first=4)
        ```
        """
        num_patches = self.num_patches
        num_images = as_optional(as_count, "num_images", num_images)
        temperature = as_number("temperature", temperature, 0.0, float("inf"))
        seed = as_optional(as_count, "seed", seed, 0)
        num_first = as_optional(as_count, "num_first", num_first, 0, num_patches)
        if (num_images is None) == (images is None):
            raise ValueError(
                "Give either `num_images` to make, or `images` to complete. Received: "
                f"num_images={num_images}, {'no' if images is None else 'and'} images."
            )
        if self.normalize_targets:
            raise ValueError(
                "To generate, a model is to be made with `normalize_targets=False`: "
                "this one predicts patches without their brightness and contrast, and "
                "could not go on from them."
            )
        if images is not None:
            images = check_images(
                images,
                self.image_size,
                self.value_range,
                num_channels=self.num_channels,
            )
            num_images = len(images)
            num_first = num_patches // 2 if num_first is None else num_first
        elif num_first:
            raise ValueError(
                f"`num_first` is how many patches of `images` are kept. Received: "
                f"num_first={num_first} without images."
            )
        if self.prefix_attention and not num_first:
            raise ValueError(
                "`num_first` must be 1 or more: with `prefix_attention` a first patch "
                "is never learned. Received: none. Pass `images` to complete."
            )
        seed = random.randrange(2**63) if seed is None else seed
        draws = np.random.default_rng(seed)
        patch_ids = np.tile(self.causal_encoder.patch_ids, (num_images, 1))
        if self.order == "random":
            patch_ids = draws.permuted(patch_ids, axis=1)
        shape = (num_images, *self.image_size, self.num_channels)
        images = np.zeros(shape, "float32") if images is None else images
        patches = ops.convert_to_numpy(self.target_patches(images))
        patches = np.take_along_axis(patches, patch_ids[..., None], axis=1)
        generator = self.generator(num_images, temperature)
        patches = generator.predict_on_batch(
            {
                "patches": patches,
                "patch_ids": patch_ids,
                "num_first": np.full(num_images, num_first or 0, "int32"),
                "seed": np.full(num_images, hash_seed(seed, 0), "int32"),
            }
        )
        places = np.argsort(patch_ids, axis=1)
        patches = np.take_along_axis(patches, places[..., None], axis=1)
        encoder = self.encoder
        pictures = images_of_patches(patches, encoder.grid_size, encoder.patch_size)
        low, high = self.value_range
        pictures = ops.convert_to_numpy(pictures) * np.array(encoder.std, "float32")
        pictures = low + (high - low) * (pictures + np.array(encoder.mean, "float32"))
        return np.clip(pictures, low, high).astype("float32")
