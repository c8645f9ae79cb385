"""Source view, target view, and the action that leads from one to the other."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.actions.transform import Transform
from keras_iwm.arguments import as_object, as_transforms
from keras_iwm.backend import run_pure
from keras_iwm.type_aliases import Config, Size, Tensor, ValueRange
from keras_iwm.views.image_views import ImageViews
from keras_iwm.views.patch_mask import PatchMask
from keras_iwm.views.random_resized_crop import RandomResizedCrop

VIEW_KEYS = ("source", "target", "action", "context_ids", "target_ids")
"""Names of what a world model trains on, as a `ViewGenerator` with a mask makes it."""


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViewGenerator(ImageViews):
    """Turn images into what an image world model trains on.

    Each image is cropped once. The target view is the crop under the shared
    operations; the source view is the same crop under another draw of them and
    then under the destructive ones, each on its own gate (image world models,
    arXiv 2403.00504, "views"). The `ActionSpace` says which operations these are, and
    what the action is that leads from source to target.

    It runs inside the compiled train step, on the accelerator, in float32
    whatever the precision policy. I-JEPA's views are `ViewGenerator(..., actions=())`.

    Args:
        image_size: Size of the views: an integer, or (height, width).
        mask: A mask of the patch grid, such as `MultiBlockMask`, or `None` for methods
            that hide nothing.
        actions: The operations that views differ by: an `ActionSpace`, or a list of
            `Transform`s that both views get. By default `ActionSpace.default`, which
            has those of the paper for RGB images.
        crop: A `RandomResizedCrop` to `image_size`, by default one with its
            default ranges. `None` crops nothing: images must have `image_size`.
        num_channels: Integer, channels of the images.
        value_range: Smallest and largest pixel value of images and views. Values
            outside are clipped; NaN becomes the smallest.
        seed: Integer, or `None` for other draws in every run. Without training
            the draws are the same in every call, and in every run.

    Call arguments:
        images: `(batch, height, width, num_channels)`, integer or floating-point.
        training: Whether to draw anew in every call.

    Returns:
        A dictionary: `"source"` and `"target"`, `(batch, *image_size, num_channels)`
        float32 in `value_range`; `"action"`, `(batch, action_dim)` float32;
        `"context_ids"` and `"target_ids"`, int32, from the mask if there is one.

    Raises:
        ValueError: If arguments do not fit together, an operation needs another
            number of channels, or images have the wrong rank, channels, size or type.

    Example:

    ```python
    import numpy as np
    from keras_iwm.views import MultiBlockMask, ViewGenerator

    views = ViewGenerator(image_size=32, mask=MultiBlockMask(grid_size=8), seed=0)
    images = np.random.randint(0, 256, (4, 48, 64, 3), "uint8")
    batch = views(images, training=True)
    print(dict(zip(views.action_space.slots, batch["action"][0])))
    ```
    """

    def __init__(
        self,
        image_size: Size,
        mask: PatchMask | None = None,
        actions: ActionSpace | Sequence[Transform] | Literal["default"] = "default",
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        num_channels: int = 3,
        value_range: ValueRange = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, crop, num_channels, value_range, seed, **kwargs)
        if mask is not None:
            needed = ("grid_size", "num_draws", "num_context", "num_targets")
            as_object("mask", mask, needed, "a mask such as MultiBlockMask, or None")
        self.mask = mask
        if isinstance(actions, str) and actions == "default":
            actions = ActionSpace.default(self.image_size, self.num_channels)
        elif not isinstance(actions, ActionSpace):
            actions = ActionSpace(as_transforms("actions", actions))
        actions.check_channels(self.num_channels)
        self.action_space = actions

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of what `call` returns; the first are images."""
        return VIEW_KEYS if self.mask is not None else VIEW_KEYS[:3]

    def apply_shared(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images under the shared operations.

        Args:
            images: `(batch, height, width, num_channels)` in `value_range`, of any
                size.
            parameters: `(batch, k)` float32, of the action space's shared operations.

        Returns:
            Float32 images in `value_range`.
        """
        return self._run(self._apply_shared, images, parameters)

    def apply_destructive(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Images under the destructive operations; see `apply_shared`."""
        return self._run(self._apply_destructive, images, parameters)

    @property
    def draw_sizes(self) -> list[int]:
        """Uniform numbers that each part of the views uses."""
        space = self.action_space
        return [
            self.crop_draws,
            space.shared.num_draws,
            space.shared.num_draws,
            space.destructive.num_draws,
            0 if self.mask is None else self.mask.num_draws,
        ]

    def make_views(self, images: Tensor, *draws: Tensor) -> dict[str, Tensor]:
        """Make the views; see the class."""
        crop_draws, target_draws, source_draws, destructive_draws, mask_draws = draws
        space = self.action_space
        images = self.crop_images(self._clean(images), crop_draws)
        target_parameters = space.shared.sample(target_draws)
        source_parameters = space.shared.sample(source_draws)
        destructive_parameters = space.destructive.sample(destructive_draws)
        target = space.shared.apply(images, target_parameters)
        source = space.shared.apply(images, source_parameters)
        source = space.destructive.apply(source, destructive_parameters)
        action = space.between(
            source_parameters,
            target_parameters,
            space.destructive.touched(destructive_parameters),
        )
        views = {
            "source": self._to_values(source),
            "target": self._to_values(target),
            "action": action,
        }
        if self.mask is not None:
            views["context_ids"], views["target_ids"] = self.mask(mask_draws)
        return views

    def _run(self, function, images, parameters):
        """What one of the two below makes of images and parameters."""
        parameters = ops.convert_to_tensor(parameters, dtype="float32")
        return run_pure(function, ops.convert_to_tensor(images), parameters)

    def _apply_shared(self, images, parameters):
        return self._apply(self.action_space.shared, images, parameters)

    def _apply_destructive(self, images, parameters):
        return self._apply(self.action_space.destructive, images, parameters)

    def _apply(self, transforms, images, parameters):
        """Images of `value_range` under some operations, and back."""
        images = self._from_values(self._clean(images))
        return self._to_values(transforms.apply(images, parameters))

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "mask": keras.saving.serialize_keras_object(self.mask),
            "actions": keras.saving.serialize_keras_object(self.action_space),
        }
