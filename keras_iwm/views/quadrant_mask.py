"""A mask of quarters of the image."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.type_aliases import Size, Tensor
from keras_iwm.views.patch_mask import PatchMask


@keras.saving.register_keras_serializable(package="keras_iwm")
class QuadrantMask(PatchMask):
    """Show one quarter of the image, and predict the three others apart.

    The `rasterized` mask of I-JEPA's comparison (arXiv 2301.08243): the quarter that is
    seen is drawn for each image. Where rows or columns are odd in number, quarters are
    of several sizes; of larger ones so many patches are chosen at random as the
    smallest has.

    Args:
        grid_size: Rows and columns of patches: an integer, or (rows, columns); at
            least 2 each.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

    Returns:
        `(context_ids, target_ids)`, int32 of shape `(batch, num_context)` and
        `(batch, 3, num_targets)`. Ids count patches row by row, in no order.

    Raises:
        ValueError: If the grid is too small.

    Example:

    ```python
    mask = keras_iwm.views.QuadrantMask(grid_size=8)
    uniforms = keras.random.uniform((4, mask.num_draws))
    context_ids, target_ids = mask(uniforms)  # (4, 16), (4, 3, 16)
    ```
    """

    def __init__(self, grid_size: Size, **kwargs: Any) -> None:
        super().__init__(grid_size, **kwargs)
        rows, columns = self.grid_size
        if min(rows, columns) < 2:
            raise ValueError(
                "`grid_size` must be at least 2 patches in each direction. Received: "
                f"{self.grid_size}. Use larger images or smaller patches: the grid is "
                "image_size / patch_size."
            )
        self.num_context = self.num_targets = (rows // 2) * (columns // 2)
        # Which quarter each patch lies in.
        lower = np.arange(rows) >= rows // 2
        right = np.arange(columns) >= columns // 2
        quarters = (2 * lower[:, None] + right).reshape(-1)
        self.outside = (quarters != np.arange(4)[:, None]).astype("float32")
        self.built = True

    @property
    def num_draws(self) -> int:
        """Uniform numbers that one image uses: one a patch, and one for the context."""
        return self.num_patches + 1

    @property
    def num_passes(self) -> int:
        """Times that a predictor runs for one image."""
        return 3

    def split(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids of one quarter, and of each of the others."""
        first = ops.cast(ops.floor(4.0 * uniforms[:, -1:]), "int32")
        quarters = ops.mod(first + ops.arange(4, dtype="int32"), 4)
        outside = ops.take(ops.convert_to_tensor(self.outside), quarters, axis=0)
        order = ops.argsort(outside + uniforms[:, None, :-1], axis=-1)
        ids = order[:, :, : self.num_context]
        return ids[:, 0], ids[:, 1:]
