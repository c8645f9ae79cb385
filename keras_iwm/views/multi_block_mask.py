"""Which patches the predictor sees and which it must predict."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_boolean, as_count, as_interval
from keras_iwm.type_aliases import Config, Size, Tensor
from keras_iwm.views.patch_mask import PatchMask

# Draws behind the default counts: their 10th percentile is steady to one patch.
_SIMULATED_DRAWS = 2048


@keras.saving.register_keras_serializable(package="keras_iwm")
class MultiBlockMask(PatchMask):
    """Draw rectangles of patches to hide, and split each image's patches by them.

    The mask of image world models (arXiv 2403.00504, "views"): the union of
    `num_blocks` rectangles is hidden from the encoder; the predictor is asked for
    it in one pass. With `separate_blocks=True` it is I-JEPA's (arXiv 2301.08243):
    the target ids of every rectangle apart, and a large context block less all
    rectangles. One rectangle of `scale=(0.6, 0.6)` is the `block` mask of that paper's
    comparison.

    A compiled step needs fixed counts, so a fixed number of ids is taken at
    random from the visible and from the hidden patches. The first of
    `num_candidates` draws that holds enough of both is kept, or else the one
    that lacks least; only then do a few ids come from the other side. Context
    and targets never meet, and every position can be drawn. Each
    block's area and aspect ratio are independent.

    Args:
        grid_size: Rows and columns of patches: an integer, or (rows, columns);
            at least 4 each.
        num_blocks: Number of rectangles.
        scale: Smallest and largest area of one as a share of the grid, in (0, 1].
        aspect_ratio: Smallest and largest height over width; drawn log-uniform.
        num_context: Visible patches to keep. By default the 10th percentile of
            their number (83 on a 14 x 14 grid).
        num_targets: Patches to predict, for each block if they are separate. By
            default the 10th percentile of their number (76 on a 14 x 14 grid).
        separate_blocks: Keep the target ids of each block apart, as I-JEPA does.
        context_scale: Smallest and largest area of the context block, which has
            the shape of the grid; only with `separate_blocks`, where it defaults
            to (0.85, 1.0).
        num_candidates: Draws to choose from.

    Call arguments:
        uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

    Returns:
        `(context_ids, target_ids)`, int32: `(batch, num_context)` and
        `(batch, num_targets)`, or `(batch, num_blocks, num_targets)` if blocks
        are separate. Ids count patches row by row, in no order.

    Raises:
        ValueError: If the grid is too small, an argument is outside its range,
            or the counts do not fit into the grid.

    Example:

    ```python
    mask = keras_iwm.views.MultiBlockMask(grid_size=8)
    uniforms = keras.random.uniform((4, mask.num_draws))
    context_ids, target_ids = mask(uniforms)
    ```
    """

    def __init__(
        self,
        grid_size: Size,
        num_blocks: int = 4,
        scale: tuple[float, float] = (0.15, 0.2),
        aspect_ratio: tuple[float, float] = (0.75, 1.5),
        num_context: int | None = None,
        num_targets: int | None = None,
        separate_blocks: bool = False,
        context_scale: tuple[float, float] | None = None,
        num_candidates: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_size, **kwargs)
        _check_grid(self.grid_size, warn=num_context is None or num_targets is None)
        self.num_blocks = as_count("num_blocks", num_blocks)
        self.num_candidates = as_count("num_candidates", num_candidates)
        self.scale = as_interval("scale", scale, 1e-6, 1.0)
        self.aspect_ratio = as_interval("aspect_ratio", aspect_ratio, 1e-6, 1e6)
        self.separate_blocks = as_boolean("separate_blocks", separate_blocks)
        if context_scale is None:
            context_scale = (0.85, 1.0) if self.separate_blocks else None
        elif not self.separate_blocks:
            raise ValueError(
                "`context_scale` needs `separate_blocks=True`: otherwise the context "
                f"is what the blocks leave. Received: context_scale={context_scale!r}."
            )
        else:
            context_scale = as_interval("context_scale", context_scale, 1e-6, 1.0)
        self.context_scale = context_scale
        self._set_counts(num_context, num_targets)
        self.built = True

    @property
    def num_draws(self) -> int:
        """Uniform numbers that one image uses: four a rectangle, one a patch."""
        return 4 * self.num_candidates * self._num_rectangles + self.num_patches

    @property
    def num_passes(self) -> int:
        """Times that a predictor runs for one image."""
        return self.num_blocks if self.separate_blocks else 1

    @property
    def _num_rectangles(self):
        """Rectangles in one candidate."""
        return self.num_blocks + self.separate_blocks

    def draw_blocks(self, uniforms: Tensor) -> Tensor:
        """Rectangles of every candidate, as booleans.

        Args:
            uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

        Returns:
            `(batch, num_candidates, num_blocks, rows, columns)` bool; with
            `separate_blocks`, the context block stands behind the others.
        """
        return self._rectangles(uniforms, ops)

    def split(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids of the visible and of the hidden patches, or of each block's."""
        blocks, hidden, visible = self.choose_blocks(uniforms)
        keys = uniforms[:, -self.num_patches :]
        if not self.separate_blocks:
            order = ops.argsort(hidden + keys, axis=-1)
            context_ids = order[:, : self.num_context]
            target_ids = order[:, self.num_patches - self.num_targets :]
        else:
            order = ops.argsort(
                1.0 - blocks[:, : self.num_blocks] + keys[:, None], axis=-1
            )
            target_ids = order[:, :, : self.num_targets]
            chosen = ops.max(_one_hot(target_ids, self.num_patches), axis=(1, 2))
            # Visible first, then outside every block, then hidden, never a target.
            level = 1.0 - visible + hidden + chosen * 3.0
            context_ids = ops.argsort(level + keys, axis=-1)[:, : self.num_context]
        return context_ids, target_ids

    def choose_blocks(self, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Blocks, hidden and visible patches of the candidate that lacks least."""
        shape = (-1, self.num_candidates, self._num_rectangles, self.num_patches)
        blocks = ops.cast(ops.reshape(self.draw_blocks(uniforms), shape), "float32")
        hidden = ops.max(blocks[:, :, : self.num_blocks], axis=2)
        visible = 1.0 - hidden
        if self.separate_blocks:
            visible = visible * blocks[:, :, -1]
            sizes = ops.sum(blocks[:, :, : self.num_blocks], axis=-1)
        else:
            sizes = ops.sum(hidden, axis=-1, keepdims=True)
        lack = ops.maximum(self.num_context - ops.sum(visible, axis=-1), 0.0)
        lack = lack + ops.sum(ops.maximum(self.num_targets - sizes, 0.0), axis=-1)
        # The earlier of two equals wins, on every backend.
        lack = lack + ops.arange(self.num_candidates, dtype="float32") / float(
            self.num_candidates
        )
        choice = _one_hot(ops.argmin(lack, axis=-1), self.num_candidates)
        return (
            ops.einsum("bc,bckn->bkn", choice, blocks),
            ops.einsum("bc,bcn->bn", choice, hidden),
            ops.einsum("bc,bcn->bn", choice, visible),
        )

    def _rectangles(self, uniforms, arrays):
        """`draw_blocks` with `arrays`, `keras.ops` or `numpy`, to compute with."""
        count = 4 * self.num_candidates * self._num_rectangles
        draws = arrays.reshape(
            uniforms[:, :count], (-1, self.num_candidates, self._num_rectangles, 4)
        )
        area, log_ratio, offset = draws[..., 0], draws[..., 1], draws[..., 2:]
        blocks = self._rasterize(
            area[:, :, : self.num_blocks],
            log_ratio[:, :, : self.num_blocks],
            offset[:, :, : self.num_blocks],
            self.scale,
            self.aspect_ratio,
            arrays,
        )
        if not self.separate_blocks:
            return blocks
        grid_ratio = self.grid_size[0] / self.grid_size[1]
        context = self._rasterize(
            area[:, :, self.num_blocks :],
            log_ratio[:, :, self.num_blocks :],
            offset[:, :, self.num_blocks :],
            self.context_scale,
            (grid_ratio, grid_ratio),
            arrays,
        )
        return arrays.concatenate([blocks, context], axis=2)

    def _rasterize(self, area, log_ratio, offset, scale, aspect_ratio, arrays):
        """Booleans `(..., rows, columns)` of rectangles given by uniforms."""
        rows, columns = self.grid_size
        area = (scale[0] + (scale[1] - scale[0]) * area) * self.num_patches
        logs = np.log(aspect_ratio).tolist()
        ratio = arrays.exp(logs[0] + (logs[1] - logs[0]) * log_ratio)
        inside = []
        for size, length, uniform in (
            (rows, arrays.sqrt(area * ratio), offset[..., 0]),
            (columns, arrays.sqrt(area / ratio), offset[..., 1]),
        ):
            length = arrays.clip(arrays.round(length), 1.0, float(size))
            room = size - length
            start = arrays.minimum(arrays.floor(uniform * (room + 1.0)), room)
            start, length = start[..., None], length[..., None]
            positions = arrays.arange(size, dtype="float32")
            inside.append(
                arrays.logical_and(positions >= start, positions < start + length)
            )
        return arrays.logical_and(inside[0][..., :, None], inside[1][..., None, :])

    def _set_counts(self, num_context, num_targets):
        """Fix the number of ids, by default from simulated draws."""
        uniforms = np.random.default_rng(0).random(
            (_SIMULATED_DRAWS // self.num_candidates + 1, self.num_draws), "float32"
        )
        blocks = self._rectangles(uniforms, np)
        blocks = blocks.reshape(-1, self._num_rectangles, self.num_patches)
        hidden = blocks[:, : self.num_blocks].any(axis=1)
        visible = ~hidden & blocks[:, -1] if self.separate_blocks else ~hidden
        groups = self.num_passes
        regions = blocks[:, : self.num_blocks] if self.separate_blocks else hidden

        def usual(regions, largest):
            """The count that nine draws in ten reach, within what is left."""
            count = int(np.percentile(regions.sum(axis=-1), 10))
            return max(1, min(count, largest))

        if num_context is not None:
            num_context = as_count("num_context", num_context)
        if num_targets is None:
            reserved = 1 if num_context is None else num_context
            num_targets = usual(regions, (self.num_patches - reserved) // groups)
        num_targets = as_count("num_targets", num_targets)
        if num_context is None:
            num_context = usual(visible, self.num_patches - groups * num_targets)
        self.num_context, self.num_targets = num_context, num_targets
        if self.num_context + groups * self.num_targets > self.num_patches:
            raise ValueError(
                f"`num_context` and {groups} x `num_targets` must fit into the "
                f"{self.num_patches} patches of the grid. Received: "
                f"num_context={self.num_context}, num_targets={self.num_targets}. "
                "Lower one of them, or leave both out."
            )

    def get_config(self) -> Config:
        """The constructor's arguments, with the counts in use."""
        return {
            **super().get_config(),
            "num_blocks": self.num_blocks,
            "scale": self.scale,
            "aspect_ratio": self.aspect_ratio,
            "num_context": self.num_context,
            "num_targets": self.num_targets,
            "separate_blocks": self.separate_blocks,
            "context_scale": self.context_scale,
            "num_candidates": self.num_candidates,
        }


def _one_hot(ids, count):
    """1 where each of `count` numbers is the id, else 0, on an axis behind the others.

    Torch's own looks at the ids, which an accelerator would have to be waited for.
    """
    numbers = ops.arange(count, dtype=ids.dtype)
    return ops.cast(ops.expand_dims(ids, -1) == numbers, "float32")


def _check_grid(grid_size, warn):
    """Refuse a grid too small for the blocks' shares; warn of one that rounds them."""
    if min(grid_size) < 4:
        raise ValueError(
            "`grid_size` must be at least 4 patches in each direction, or blocks "
            f"cannot have their share of it. Received: {grid_size}. Use larger "
            "images or smaller patches: the grid is image_size / patch_size."
        )
    if min(grid_size) == 4 and warn:
        warnings.warn(
            f"A grid of {grid_size[0]} x {grid_size[1]} patches rounds blocks coarsely:"
            " on 4 x 4 they can only be 12.5 to 25 % of the image, and may hide all of "
            "it. Larger images or smaller patches mend this.",
            UserWarning,
            stacklevel=3,
        )
