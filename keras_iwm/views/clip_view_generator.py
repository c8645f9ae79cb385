"""Cropped clips, and what is hidden of them."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_iwm.actions.transform_sequence import as_objects
from keras_iwm.arguments import as_count, as_object, shown
from keras_iwm.type_aliases import Config, Size, Tensor, ValueRange
from keras_iwm.views.image_views import ImageViews
from keras_iwm.views.random_resized_crop import RandomResizedCrop
from keras_iwm.views.video_block_mask import VideoBlockMask

CLIP_VIEW_KEYS = ("clips", "context_ids", "target_ids")
"""Names of what a `VideoWorldModel` trains on."""


@keras.saving.register_keras_serializable(package="keras_iwm")
class ClipViewGenerator(ImageViews):
    """Turn clips into what a `VideoWorldModel` trains on.

    A clip is cropped and perhaps flipped, all of its frames by the same box, and each
    mask says which of its patches are seen and which are to be predicted (V-JEPA, arXiv
    2404.08471). It runs inside the compiled train step, on the accelerator, in float32
    whatever the precision policy.

    Args:
        image_size: Size of the frames: an integer, or (height, width).
        num_frames: Integer, frames of a clip.
        masks: List of masks of the grid of patches, such as `VideoBlockMask`s: what is
            to be predicted is predicted once for each.
        crop: A `RandomResizedCrop` to `image_size`, by default one to 30 to 100 % of
            the area with a flip. `None` crops nothing: clips must have `image_size`.
        num_channels: Integer, channels of the frames.
        value_range: Smallest and largest pixel value of clips and views. Values
            outside are clipped; NaN becomes the smallest.
        seed: Integer, or `None` for other draws in every run. Without training
            the draws are the same in every call, and in every run.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        images: Clips `(batch, num_frames, height, width, num_channels)`, integer or
            floating-point.
        training: Whether to draw anew in every call.

    Returns:
        A dictionary: `"clips"`, `(batch, num_frames, *image_size, num_channels)`
        float32 in `value_range`; `"context_ids"` and `"target_ids"`, each a tuple with
        one int32 tensor for each mask.

    Raises:
        ValueError: If arguments do not fit together, or clips have the wrong rank,
            frames, channels, size or type.

    Example:

    ```python
    mask = keras_iwm.views.VideoBlockMask(grid_size=(4, 8, 8))
    views = keras_iwm.views.ClipViewGenerator(32, num_frames=8, masks=[mask], seed=0)
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 48, 64, 3), "uint8")
    views(clips, training=True)["clips"].shape  # (2, 8, 32, 32, 3)
    ```
    """

    keys = CLIP_VIEW_KEYS

    def __init__(
        self,
        image_size: Size,
        num_frames: int,
        masks: Sequence[VideoBlockMask],
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        num_channels: int = 3,
        value_range: ValueRange = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, crop, num_channels, value_range, seed, **kwargs)
        self.num_frames = as_count("num_frames", num_frames)
        if not isinstance(masks, (list, tuple)) or not masks:
            raise ValueError(
                "`masks` must be a list of one or more masks, such as VideoBlockMask. "
                f"Received: {shown(masks)}."
            )
        needed = ("grid_size", "num_draws", "num_context", "num_targets")
        for mask in masks:
            as_object("masks", mask, needed, "a list of masks such as VideoBlockMask")
        self.masks = tuple(masks)

    def default_crop(self) -> RandomResizedCrop:
        """Return V-JEPA's crop."""
        return RandomResizedCrop(self.image_size, aspect_ratio=(0.75, 1.35))

    @property
    def draw_sizes(self) -> list[int]:
        """Uniform numbers of a clip's crop and of each mask."""
        return [self.crop_draws, *(mask.num_draws for mask in self.masks)]

    def make_views(self, images: Tensor, *draws: Tensor) -> dict[str, Any]:
        """Make the views; see the class."""
        clips, (crop_draws, *mask_draws) = self._clean(images), draws
        # Frames are images that share the draw of their clip.
        frames = ops.reshape(clips, (-1, *clips.shape[2:]))
        frames = self.crop_images(frames, ops.repeat(crop_draws, self.num_frames, 0))
        shape = (-1, self.num_frames, *self.image_size, self.num_channels)
        ids = [mask(d) for mask, d in zip(self.masks, mask_draws, strict=True)]
        context_ids, target_ids = zip(*ids, strict=True)
        return {
            "clips": self._to_values(ops.reshape(frames, shape)),
            "context_ids": context_ids,
            "target_ids": target_ids,
        }

    def check_images(self, images: Tensor) -> None:
        """Refuse what cannot be a batch of clips, while the step is traced."""
        shape = tuple(images.shape)
        if len(shape) != 5 or shape[1] != self.num_frames:
            raise ValueError(
                f"`images` must be clips of shape (batch, {self.num_frames}, height, "
                f"width, {self.num_channels}). Received: {shape}. Take as many frames, "
                "or make the model with the clips' `num_frames`."
            )
        super().check_images(images[:, 0])

    def get_config(self) -> Config:
        """The constructor's arguments."""
        masks = [keras.saving.serialize_keras_object(mask) for mask in self.masks]
        return {**super().get_config(), "num_frames": self.num_frames, "masks": masks}

    @classmethod
    def from_config(cls, config: Config) -> "ClipViewGenerator":
        """Rebuild the layer; parts may be objects or their dictionaries."""
        return super().from_config({**config, "masks": as_objects(config["masks"])})
