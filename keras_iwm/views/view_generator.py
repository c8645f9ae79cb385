"""Source view, target view, and the action that leads from one to the other."""

import keras
from keras import ops

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.arguments import (
    as_count,
    as_object,
    as_optional,
    as_size,
    as_transforms,
    as_value_range,
)
from keras_iwm.seeds import hash_seed
from keras_iwm.views.random_resized_crop import RandomResizedCrop

VIEW_KEYS = ("source", "target", "action", "context_ids", "target_ids")
"""Names of what a world model trains on, as a `ViewGenerator` with a mask makes it."""


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViewGenerator(keras.layers.Layer):
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
        image_size,
        mask=None,
        actions="default",
        crop="default",
        num_channels=3,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        # Half precision would round pixels and actions.
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        if mask is not None:
            needed = ("grid_size", "num_draws", "num_context", "num_targets")
            as_object("mask", mask, needed, "a mask such as MultiBlockMask, or None")
        self.mask = mask
        self.num_channels = as_count("num_channels", num_channels)
        self.value_range = as_value_range(value_range)
        if isinstance(crop, str) and crop == "default":
            crop = RandomResizedCrop(self.image_size)
        needed = ("image_size", "num_draws", "sample", "apply")
        if crop is not None:
            as_object("crop", crop, needed, "a RandomResizedCrop, or None")
        if crop is not None and tuple(crop.image_size) != self.image_size:
            raise ValueError(
                f"`crop` must resize to `image_size`, {self.image_size}. Received a "
                f"crop to {tuple(crop.image_size)}."
            )
        self.crop = crop
        if isinstance(actions, str) and actions == "default":
            actions = ActionSpace.default(self.image_size, self.num_channels)
        elif not isinstance(actions, ActionSpace):
            actions = ActionSpace(as_transforms("actions", actions))
        actions.check_channels(self.num_channels)
        self.action_space = actions
        seed = as_optional(as_count, "seed", seed, -(2**63))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(
            None if seed is None else hash_seed(seed, 0)
        )
        self._evaluation_seed = hash_seed(seed or 0, 1)
        self.built = True

    @property
    def keys(self):
        """Names of what `call` returns; the first are images."""
        return VIEW_KEYS if self.mask is not None else VIEW_KEYS[:3]

    def apply_shared(self, images, parameters):
        """Images under the shared operations.

        Args:
            images: `(batch, height, width, num_channels)` in `value_range`, of any
                size.
            parameters: `(batch, k)` float32, of the action space's shared operations.

        Returns:
            Float32 images in `value_range`.
        """
        return self._apply(self.action_space.shared, images, parameters)

    def apply_destructive(self, images, parameters):
        """Images under the destructive operations; see `apply_shared`."""
        return self._apply(self.action_space.destructive, images, parameters)

    def call(self, images, training=None):
        """Make the views; see the class."""
        self._check(images)
        images = self._clean(images)
        batch_size, (height, width) = ops.shape(images)[0], images.shape[1:3]
        space = self.action_space
        parts = [
            0 if self.crop is None else self.crop.num_draws,
            space.shared.num_draws,
            space.shared.num_draws,
            space.destructive.num_draws,
            0 if self.mask is None else self.mask.num_draws,
        ]
        # One draw a step: on some backends each costs a synchronisation.
        uniforms = keras.random.uniform(
            (batch_size, sum(parts)),
            dtype="float32",
            seed=self.seed_generator if training else self._evaluation_seed,
        )
        draws, start = [], 0
        for size in parts:
            draws.append(uniforms[:, start : start + size])
            start += size
        crop_draws, target_draws, source_draws, destructive_draws, mask_draws = draws

        if self.crop is not None:
            boxes = self.crop.sample(crop_draws, height, width)
            images = self.crop.apply(images, boxes)
        images = self._from_values(images)
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

    def _apply(self, transforms, images, parameters):
        """Images of `value_range` under some operations, and back."""
        images = self._from_values(self._clean(images))
        parameters = ops.convert_to_tensor(parameters, dtype="float32")
        return self._to_values(transforms.apply(images, parameters))

    def _clean(self, images):
        """Images as float32 within `value_range`."""
        low, high = self.value_range
        images = ops.convert_to_tensor(images)
        has_nan = "float" in keras.backend.standardize_dtype(images.dtype)
        images = ops.cast(images, "float32")
        if has_nan:
            images = ops.where(ops.isnan(images), low, images)
        return ops.clip(images, low, high)

    def _from_values(self, images):
        """Images of `value_range` in [0, 1], whatever rounding did."""
        low, high = self.value_range
        return ops.clip((images - low) / (high - low), 0.0, 1.0)

    def _to_values(self, images):
        """Images of [0, 1] in `value_range`."""
        low, high = self.value_range
        return images * (high - low) + low

    def _check(self, images):
        """Refuse what cannot be a batch of images, while the step is traced."""
        expected = (
            f"(batch, height, width, {self.num_channels}), channels last, as numbers"
        )
        if not hasattr(images, "shape") or not hasattr(images, "dtype"):
            raise ValueError(
                f"`images` must be one tensor {expected}. Received: "
                f"{type(images).__name__}. Stack the images into one array."
            )
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[3] != self.num_channels:
            raise ValueError(
                f"`images` must be {expected}. Received shape: {shape}. Add the batch "
                "axis to a single image, move channels last, or make the model with "
                "the images' `num_channels`."
            )
        dtype = keras.backend.standardize_dtype(images.dtype)
        if not ("int" in dtype or "float" in dtype):
            raise ValueError(
                f"`images` must be {expected}. Received dtype: {dtype}. Convert them "
                "to uint8 or float32."
            )
        if self.crop is None and shape[1:3] != self.image_size:
            raise ValueError(
                f"Without a crop, `images` must have `image_size`, {self.image_size}. "
                f"Received shape: {shape}. Resize them or give a `crop`."
            )
        if None in shape[1:3]:
            raise ValueError(
                f"`images` must have a fixed height and width. Received shape: {shape}."
                " Resize or pad them to one size."
            )

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        del config["dtype"]
        serialize = keras.saving.serialize_keras_object
        return {
            **config,
            "image_size": self.image_size,
            "mask": serialize(self.mask),
            "crop": serialize(self.crop),
            "actions": serialize(self.action_space),
            "num_channels": self.num_channels,
            "value_range": self.value_range,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """Rebuild the layer; parts may be objects or their dictionaries."""

        config = dict(config)
        for name in ("mask", "crop", "actions"):
            if isinstance(config[name], dict):
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)
