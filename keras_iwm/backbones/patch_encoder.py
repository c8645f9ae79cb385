"""What encoders of images and of clips share."""

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_iwm.first_batch import first_batch
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.type_aliases import Shape, Tensor


class PatchEncoder(ComposedModel):
    """Base class of encoders: from tokens of patches to latents, by blocks and a norm.

    A subclass makes `patch_embedding`, `position_embedding`, `blocks` and `norm` in its
    constructor, says with `images_shape` what it was made for, and has `grid_of`,
    `embed` and `check_batch`.
    """

    def build(self, images_shape: Shape) -> None:
        """Create all weights; the constructor does it."""
        if self.built:
            return
        self.patch_embedding.build(images_shape)
        self.position_embedding.build()
        for block in (*self.blocks, self.norm):
            block.build((None, None, self.hidden_dim))

    @property
    def input_signature(self) -> list[Any]:
        """What `call` takes, for `export`."""
        return [
            keras.InputSpec(shape=self.images_shape, dtype="float32", name="images")
        ]

    def call(
        self,
        images: Tensor,
        patch_ids: Tensor | None = None,
        training: bool | None = None,
        return_intermediates: bool = False,
        change: Callable[[str, Tensor], Tensor] | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Encode the images, or their patches at `patch_ids`."""
        change = _nothing if change is None else change
        grid_size = self.grid_of(images.shape)
        rotation = self.position_embedding.rotation(patch_ids, grid_size)
        tokens = change("stem", self.embed(images, patch_ids))
        intermediates = {"stem": tokens}
        for block in self.blocks:
            tokens = block(tokens, rotation=rotation, training=training)
            tokens = change(block.name, tokens)
            intermediates[block.name] = tokens
        intermediates["norm"] = self.norm(tokens)
        if first := self.num_prefix_tokens:
            intermediates = {n: t[:, first:] for n, t in intermediates.items()}
        return intermediates if return_intermediates else intermediates["norm"]

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict like any Keras model, after a look at images that are arrays.

        Args:
            x: What `keras.Model.predict` takes, like the others.
            *args: See there.
            **kwargs: See there.

        Returns:
            NumPy array of latents.

        Raises:
            ValueError: If the images cannot be meant for `value_range`.
        """
        batch, x = first_batch(x)
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        if hasattr(images, "shape"):
            self.check_batch(images, "x")
            self.start_anew_for(images, "predict_function")
        return super().predict(x, *args, **kwargs)

    def compute_output_spec(
        self,
        images: Tensor,
        patch_ids: Tensor | None = None,
        training: bool | None = None,
        return_intermediates: bool = False,
        change: Callable[[str, Tensor], Tensor] | None = None,
    ) -> Any:
        """Return what `call` returns, as symbolic tensors.

        A height or width that is not known yet leaves the number of patches open.
        """
        num_patches = None
        if patch_ids is not None:
            num_patches = patch_ids.shape[1]
        elif None not in images.shape[1:]:
            num_patches = math.prod(self.grid_of(images.shape))
        shape = (images.shape[0], num_patches, self.hidden_dim)
        latents = {
            name: keras.KerasTensor(shape, dtype=self.compute_dtype)
            for name in ("stem", *(block.name for block in self.blocks), "norm")
        }
        return latents if return_intermediates else latents["norm"]


def _nothing(name, tokens):
    """The tokens behind a block as they are."""
    return tokens
