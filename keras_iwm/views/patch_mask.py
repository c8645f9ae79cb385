"""What all masks share."""

import math
from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_size
from keras_iwm.type_aliases import Config, Size, Tensor


class PatchMask(keras.layers.Layer):
    """Base class of what decides which patches are seen and which are predicted.

    A mask is a function of uniform numbers, so that a step draws once for all. For
    static shapes it has fixed counts, `num_context` and `num_targets`; context and
    targets never meet. Subclasses have these, `num_draws`, the uniform numbers that one
    image uses, and `split`.

    Args:
        grid_size: Rows and columns of patches: an integer, or (rows, columns).
        **kwargs: Passed to `keras.layers.Layer`.
    """

    def __init__(self, grid_size: Size, **kwargs: Any) -> None:
        # Half precision would round the draws: positions would be lost.
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        self.grid_size = self.check_grid(grid_size)
        self.num_patches = math.prod(self.grid_size)

    def check_grid(self, grid_size: Any) -> tuple[int, ...]:
        """Return the grid as a tuple, rows and columns unless a subclass has others."""
        return as_size("grid_size", grid_size)

    @property
    def num_passes(self) -> int:
        """Times that a predictor runs for one image: blocks predicted apart, or 1."""
        return 1

    def call(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Split each image's patches; see the class."""
        if len(uniforms.shape) != 2 or uniforms.shape[1] != self.num_draws:
            raise ValueError(
                "`uniforms` must have the shape (batch, num_draws) = "
                f"(batch, {self.num_draws}). Received: {tuple(uniforms.shape)}."
            )
        context_ids, target_ids = self.split(uniforms)
        return ops.cast(context_ids, "int32"), ops.cast(target_ids, "int32")

    def split(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids of context and targets from uniforms of the right shape."""
        raise NotImplementedError(f"{type(self).__name__} must define `split`.")

    def get_config(self) -> Config:
        """The constructor's arguments."""
        config = super().get_config()
        del config["dtype"]
        return {**config, "grid_size": self.grid_size}
