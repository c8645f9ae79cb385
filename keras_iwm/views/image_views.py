"""What all generators of views do with images."""

from typing import Any, Literal, Self

import keras
from keras import ops

from keras_iwm.arguments import (
    as_count,
    as_object,
    as_optional,
    as_size,
    as_value_range,
)
from keras_iwm.backend import clip, computed_once, run_pure
from keras_iwm.seeds import hash_seed
from keras_iwm.type_aliases import Config, Size, Tensor, ValueRange
from keras_iwm.views.random_resized_crop import RandomResizedCrop


class ImageViews(keras.layers.Layer):
    """Base class of what turns images into the views that a method trains on.

    It checks and cleans images, and draws all the random numbers of a step at once. A
    subclass names with `keys` what it returns, images first, and with `draw_sizes` what
    random numbers it needs, and writes `make_views`. All of it runs inside the compiled
    train step, in float32 whatever the precision policy.

    Args:
        image_size: Size of the views: an integer, or (height, width).
        crop: A `RandomResizedCrop` to `image_size`. `None` crops nothing: images must
            have `image_size`.
        num_channels: Integer, channels of the images.
        value_range: Smallest and largest pixel value of images and views.
        seed: Integer, or `None` for other draws in every run.
        **kwargs: Passed to `keras.layers.Layer`.
    """

    keys = ()

    def __init__(
        self,
        image_size: Size,
        crop: RandomResizedCrop | Literal["default"] | None,
        num_channels: int,
        value_range: ValueRange,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        # Half precision would round pixels and actions.
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        self.num_channels = as_count("num_channels", num_channels)
        self.value_range = as_value_range(value_range)
        if isinstance(crop, str) and crop == "default":
            crop = self.default_crop()
        needed = ("image_size", "num_draws", "sample", "apply")
        if crop is not None:
            as_object("crop", crop, needed, "a RandomResizedCrop, or None")
        if crop is not None and tuple(crop.image_size) != self.image_size:
            raise ValueError(
                f"`crop` must resize to `image_size`, {self.image_size}. Received a "
                f"crop to {tuple(crop.image_size)}."
            )
        self.crop = crop
        self.seed = as_optional(as_count, "seed", seed, -(2**63))
        self.seed_generator = keras.random.SeedGenerator(
            None if self.seed is None else hash_seed(self.seed, 0)
        )
        self._evaluation_seed = hash_seed(self.seed or 0, 1)
        self.built = True

    def default_crop(self) -> RandomResizedCrop:
        """Return the crop of `crop="default"`."""
        return RandomResizedCrop(self.image_size)

    @property
    def crop_draws(self) -> int:
        """Uniform numbers that one crop of an image uses."""
        return 0 if self.crop is None else self.crop.num_draws

    @property
    def draw_sizes(self) -> list[int]:
        """Uniform numbers that each part of an image's views uses."""
        raise NotImplementedError(f"{type(self).__name__} must define `draw_sizes`.")

    def make_views(self, images: Tensor, *draws: Tensor) -> dict[str, Any]:
        """Make the views of images, a function of tensors alone.

        Args:
            images: What `call` got, once it has been checked.
            *draws: `(batch_size, size)` float32, uniform in [0, 1), one for each of
                `draw_sizes`.

        Returns:
            Dictionary of tensors, and of tuples of them, by `keys`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `make_views`.")

    def call(self, images: Tensor, training: bool | None = None) -> dict[str, Any]:
        """Check images, draw, and make the views; see the class."""
        self.check_images(images)
        images = ops.convert_to_tensor(images)
        draws = self.draw(ops.shape(images)[0], self.draw_sizes, training)
        return run_pure(self.make_views, images, *draws)

    def draw(self, batch_size: Any, sizes: list[int], training: bool) -> list[Tensor]:
        """Draw the uniform numbers of a step.

        Args:
            batch_size: Integer or scalar tensor, number of images.
            sizes: List of integers, the numbers that each use of them needs.
            training: Whether to draw anew in every call.

        Returns:
            List of `(batch_size, size)` float32, uniform in [0, 1), one for each of
            `sizes`.
        """
        # One draw a step: on some backends each costs a synchronisation.
        uniforms = keras.random.uniform(
            (batch_size, sum(sizes)),
            dtype="float32",
            seed=self.seed_generator if training else self._evaluation_seed,
        )
        draws, start = [], 0
        for size in sizes:
            draws.append(uniforms[:, start : start + size])
            start += size
        return draws

    def crop_images(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """Clean images, cropped, in [0, 1]."""
        if self.crop is not None:
            boxes = self.crop.sample(uniforms, *images.shape[1:3])
            images = self.crop.apply(images, boxes)
        return self._from_values(images)

    def _clean(self, images):
        """Images as float32 within `value_range`."""
        low, high = self.value_range
        has_nan = "float" in keras.backend.standardize_dtype(images.dtype)
        images = ops.cast(images, "float32")
        if has_nan:
            images = ops.nan_to_num(images, nan=low)
        return ops.minimum(ops.maximum(images, low), high)

    def _from_values(self, images):
        """Images of `value_range` in [0, 1], whatever rounding did."""
        low, high = self.value_range
        return clip((images - low if low else images) / (high - low))

    def _to_values(self, images):
        """Images of [0, 1] in `value_range`."""
        low, high = self.value_range
        images = images * (high - low)
        return computed_once(images + low if low else images)

    def check_images(self, images: Tensor) -> None:
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

    def get_config(self) -> Config:
        """The constructor's arguments."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "image_size": self.image_size,
            "crop": keras.saving.serialize_keras_object(self.crop),
            "num_channels": self.num_channels,
            "value_range": self.value_range,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the layer; parts may be objects or their dictionaries."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(part)
                if isinstance(part, dict)
                else part
                for name, part in config.items()
            }
        )
