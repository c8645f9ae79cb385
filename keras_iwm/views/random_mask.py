"""A mask of patches chosen one by one."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_number
from keras_iwm.type_aliases import Config, Size, Tensor
from keras_iwm.views.patch_mask import PatchMask


@keras.saving.register_keras_serializable(package="keras_iwm")
class RandomMask(PatchMask):
    """Hide patches at random, each as likely as any other; predict all that is hidden.

    The mask of masked autoencoders (arXiv 2111.06377), of which a ratio of 0.75 is
    usual: neighbours give less away the more is hidden. With 0.6 it is the `random`
    one of I-JEPA's comparison (arXiv 2301.08243).

    Args:
        grid_size: Rows and columns of patches: an integer, or (rows, columns).
        ratio: Float in (0, 1), the share of patches to hide. It is rounded to whole
            patches; at least one must be hidden, and one left.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        uniforms: `(batch, num_draws)` float32, uniform in [0, 1).

    Returns:
        `(context_ids, target_ids)`, int32 of shape `(batch, num_context)` and
        `(batch, num_targets)`, together all patches. Ids count patches row by row, in
        no order.

    Raises:
        ValueError: If an argument is outside its range, or nothing would be hidden or
            left.

    Example:

    ```python
    mask = keras_iwm.views.RandomMask(grid_size=8)
    uniforms = keras.random.uniform((4, mask.num_draws))
    context_ids, target_ids = mask(uniforms)  # (4, 16), (4, 48)
    ```
    """

    def __init__(self, grid_size: Size, ratio: float = 0.75, **kwargs: Any) -> None:
        super().__init__(grid_size, **kwargs)
        self.ratio = as_number("ratio", ratio, 0.0, 1.0)
        self.num_targets = round(self.ratio * self.num_patches)
        self.num_context = self.num_patches - self.num_targets
        if not (self.num_targets and self.num_context):
            raise ValueError(
                "`ratio` must hide one patch at least and leave one. Received: "
                f"ratio={ratio} of {self.num_patches} patches. Use larger images, "
                "smaller patches, or a ratio such as 0.75."
            )
        self.built = True

    @property
    def num_draws(self) -> int:
        """Uniform numbers that one image uses: one a patch."""
        return self.num_patches

    def split(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids of the patches with the smallest numbers, and of the others."""
        order = ops.argsort(uniforms, axis=-1)
        return order[:, : self.num_context], order[:, self.num_context :]

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {**super().get_config(), "ratio": self.ratio}
