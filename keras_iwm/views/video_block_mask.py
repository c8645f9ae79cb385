"""Which patches of a clip the predictor sees and which it must predict."""

import math
from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count, as_counts
from keras_iwm.type_aliases import Config, Tensor
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.patch_mask import PatchMask


@keras.saving.register_keras_serializable(package="keras_iwm")
class VideoBlockMask(PatchMask):
    """Hide rectangles of patches in all frames of a clip, and predict what they hide.

    The mask of V-JEPA (arXiv 2404.08471): the union of `num_blocks` rectangles runs
    through the whole clip, since what is hidden for a moment only is copied from the
    frame before. The paper trains on two kinds together, the short one, as by default
    here, and the long one, `num_blocks=2, scale=(0.7, 0.7)`.

    A compiled step needs fixed counts, so of the hidden and of the visible patches a
    fixed number is taken at random, in all frames alike. (The published code cuts the
    lists of ids of a batch to the shortest, always at the end: late frames are seen
    and predicted less.) Draws are chosen as by `MultiBlockMask`. Context and targets
    never meet; each clip has rectangles of its own, in size too.

    Args:
        grid_size: Tuple of three integers, depth, rows and columns of patches; at least
            4 rows and columns.
        num_blocks: Number of rectangles.
        scale: Smallest and largest area of one as a share of a frame, in (0, 1].
        aspect_ratio: Smallest and largest height over width; drawn log-uniform.
        num_context: Visible patches to keep, of the whole clip. By default as many as
            nine draws in ten leave.
        num_targets: Patches to predict. By default as many as nine draws in ten hide.
        num_candidates: Draws to choose from.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

    Returns:
        `(context_ids, target_ids)`, int32 of shape `(batch, num_context)` and
        `(batch, num_targets)`. Ids count through the first frames row by row, then
        through the next; in no order.

    Raises:
        ValueError: If the grid is too small, an argument is outside its range, or the
            counts do not fit into the grid.

    Example:

    ```python
    mask = keras_iwm.views.VideoBlockMask(grid_size=(4, 8, 8))
    uniforms = keras.random.uniform((2, mask.num_draws))
    context_ids, target_ids = mask(uniforms)
    ```
    """

    def __init__(
        self,
        grid_size: tuple[int, int, int],
        num_blocks: int = 8,
        scale: tuple[float, float] = (0.15, 0.15),
        aspect_ratio: tuple[float, float] = (0.75, 1.5),
        num_context: int | None = None,
        num_targets: int | None = None,
        num_candidates: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_size, **kwargs)
        depth, *sides = self.grid_size
        counts = {"num_context": num_context, "num_targets": num_targets}
        counts = {
            name: None if count is None else math.ceil(as_count(name, count) / depth)
            for name, count in counts.items()
        }
        self.frame_mask = MultiBlockMask(
            tuple(sides),
            num_blocks,
            scale,
            aspect_ratio,
            num_candidates=num_candidates,
            name="frame_mask",
            **counts,
        )
        self.num_blocks = self.frame_mask.num_blocks
        self.scale = self.frame_mask.scale
        self.aspect_ratio = self.frame_mask.aspect_ratio
        self.num_candidates = self.frame_mask.num_candidates
        if num_context is None:
            num_context = depth * self.frame_mask.num_context
        if num_targets is None:
            num_targets = depth * self.frame_mask.num_targets
        self.num_context, self.num_targets = int(num_context), int(num_targets)
        self.built = True

    def check_grid(self, grid_size: Any) -> tuple[int, ...]:
        """Return the grid as a tuple of three integers."""
        grid = as_counts("grid_size", grid_size, "depth, rows and columns", 3)
        if len(grid) != 3:
            raise ValueError(
                "`grid_size` must be three integers: depth, rows and columns. Received:"
                f" grid_size={grid_size}."
            )
        return grid

    @property
    def num_draws(self) -> int:
        """Uniform numbers that one clip uses: those of a frame's, one a patch."""
        return (
            self.frame_mask.num_draws - self.frame_mask.num_patches + (self.num_patches)
        )

    def split(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids of the visible and of the hidden patches."""
        _, hidden, _ = self.frame_mask.choose_blocks(uniforms)
        hidden = ops.tile(hidden, (1, self.grid_size[0]))
        order = ops.argsort(hidden + uniforms[:, -self.num_patches :], axis=-1)
        first_target = self.num_patches - self.num_targets
        return order[:, : self.num_context], order[:, first_target:]

    def get_config(self) -> Config:
        """The constructor's arguments, with the counts in use."""
        names = ("num_blocks", "scale", "aspect_ratio", "num_context", "num_targets")
        names = (*names, "num_candidates")
        return super().get_config() | {name: getattr(self, name) for name in names}
