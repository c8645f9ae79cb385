"""Source view, target view, and the action that leads from one to the other."""

import keras
from keras import ops

from keras_iwm.arguments import as_size
from keras_iwm.seeds import hash_seed
from keras_iwm.transforms.color_jitter import ColorJitter
from keras_iwm.transforms.gaussian_blur import GaussianBlur
from keras_iwm.transforms.grayscale import Grayscale
from keras_iwm.transforms.random_resized_crop import RandomResizedCrop
from keras_iwm.transforms.solarization import Solarization


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViewGenerator(keras.layers.Layer):
    """Turn images into what an image world model trains on.

    Each image is cropped once. The target view is the crop under the shared
    operations; the source view is the same crop under another draw of them and
    then under the destructive ones, each on its own gate (image world models,
    arXiv 2403.00504, "views"). The action is what leads from source to target:
    the differences of the shared parameters, divided by their scales so that
    they lie in [-1, 1], and a flag for each destructive operation that touched
    the source. All zeros is the null action. The difference does not determine
    the map exactly: brightness 0.6 to 1.0 and 1.0 to 1.4 are different factors.

    It runs inside the compiled train step, on the accelerator, in float32
    whatever the precision policy. I-JEPA's views are
    `ViewGenerator(..., shared=(), destructive=())`.

    Args:
        image_size: Size of the views: an integer, or (height, width).
        mask: A `MultiBlockMask` of the patch grid.
        crop: A `RandomResizedCrop` to `image_size`, by default one with its
            default ranges. `None` crops nothing: images must have `image_size`.
        shared: `Transform`s that both views get, by default `(ColorJitter(),)`.
            Each of their parameters is a slot of the action.
        destructive: `Transform`s that only the source gets, by default
            `(Grayscale(), GaussianBlur(sigma), Solarization())` with sigma
            (0.1, 2.0) above 96 pixels and (0.4, 1.0) up to 96. Each is a slot,
            named after it.
        value_range: Smallest and largest pixel value of images and views. Values
            outside are clipped; NaN becomes the smallest.
        seed: Integer, or `None` for other draws in every run. Without training
            the draws are the same in every call, and in every run.

    Call arguments:
        images: `(batch, height, width, 3)`, integer or floating-point.
        training: Whether to draw anew in every call.

    Returns:
        A dictionary: `"source"` and `"target"`, `(batch, *image_size, 3)` float32
        in `value_range`; `"action"`, `(batch, action_dim)` float32;
        `"context_ids"` and `"target_ids"`, int32, from the mask.

    Raises:
        ValueError: If arguments do not fit together, two slots share a name, or
            images have the wrong rank, channels, size or type.

    Example:

    ```python
    import numpy as np
    from keras_iwm.layers import MultiBlockMask, ViewGenerator

    views = ViewGenerator(image_size=32, mask=MultiBlockMask(grid_size=8), seed=0)
    images = np.random.randint(0, 256, (4, 48, 64, 3), "uint8")
    batch = views(images, training=True)
    print(dict(zip(views.action_slots, batch["action"][0])))
    ```
    """

    def __init__(
        self,
        image_size,
        mask,
        crop="default",
        shared="default",
        destructive="default",
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        # Half precision would round pixels and actions.
        kwargs["dtype"] = "float32"
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        self.mask = mask
        if isinstance(crop, str) and crop == "default":
            crop = RandomResizedCrop(self.image_size)
        if crop is not None and tuple(crop.image_size) != self.image_size:
            raise ValueError(
                f"`crop` must resize to `image_size`, {self.image_size}. Received a "
                f"crop to {tuple(crop.image_size)}."
            )
        self.crop = crop
        if isinstance(shared, str) and shared == "default":
            shared = (ColorJitter(),)
        if isinstance(destructive, str) and destructive == "default":
            sigma = (0.1, 2.0) if max(self.image_size) > 96 else (0.4, 1.0)
            destructive = (Grayscale(), GaussianBlur(sigma), Solarization())
        self.shared = _as_transforms("shared", shared)
        self.destructive = _as_transforms("destructive", destructive)
        slots = [name for transform in self.shared for name in transform.parameters]
        slots += [transform.name for transform in self.destructive]
        repeated = sorted({name for name in slots if slots.count(name) > 1})
        if repeated:
            raise ValueError(
                "Each slot of the action needs its own name, but `shared` and "
                f"`destructive` give {', '.join(repeated)} twice. Leave one of the "
                "transforms out, or subclass it under another name."
            )
        self.action_slots = tuple(slots)
        self.value_range = _as_value_range(value_range)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ValueError(f"`seed` must be an integer or None. Received: {seed!r}.")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(
            None if seed is None else hash_seed(seed, 0)
        )
        self._evaluation_seed = hash_seed(seed or 0, 1)
        self.built = True

    @property
    def action_dim(self):
        """Slots of the action."""
        return len(self.action_slots)

    @property
    def num_shared_parameters(self):
        """Parameters of the shared operations, which are the first slots."""
        return len(self.shared_identity)

    @property
    def shared_identity(self):
        """Shared parameters that leave an image unchanged."""
        return tuple(
            float(value) for transform in self.shared for value in transform.identity
        )

    @property
    def shared_scales(self):
        """Largest difference of each shared parameter: one unit of its slot."""
        return tuple(
            float(value) for transform in self.shared for value in transform.scales
        )

    @property
    def num_shared_draws(self):
        """Uniform numbers that one `sample_shared` uses for an image."""
        return sum(transform.num_draws for transform in self.shared)

    def sample_shared(self, uniforms):
        """Parameters of the shared operations.

        Args:
            uniforms: `(batch, num_shared_draws)` float32, uniform in [0, 1).

        Returns:
            `(batch, num_shared_parameters)` float32.
        """
        uniforms = ops.convert_to_tensor(uniforms, dtype="float32")
        parameters, start = [uniforms[:, :0]], 0
        for transform in self.shared:
            stop = start + transform.num_draws
            parameters.append(transform.sample(uniforms[:, start:stop]))
            start = stop
        return ops.concatenate(parameters, axis=-1)

    def apply_shared(self, images, parameters):
        """Images `(batch, height, width, 3)` under the shared operations.

        Images come and go in `value_range`; `parameters` is
        `(batch, num_shared_parameters)`.
        """
        images = self._from_values(self._clean(images))
        parameters = ops.convert_to_tensor(parameters, dtype="float32")
        return self._to_values(self._transform(images, parameters))

    def shared_action(self, source_parameters, target_parameters):
        """The action between two draws of the shared operations, flags at zero.

        Args:
            source_parameters: `(batch, num_shared_parameters)` float32.
            target_parameters: The same for the target.

        Returns:
            `(batch, action_dim)` float32.
        """
        # A range of zero never differs: any divisor will do.
        scales = ops.convert_to_tensor(
            [scale or 1.0 for scale in self.shared_scales], dtype="float32"
        )
        source_parameters, target_parameters = (
            ops.convert_to_tensor(parameters, dtype="float32")
            for parameters in (source_parameters, target_parameters)
        )
        slots = (target_parameters - source_parameters) / scales
        return ops.pad(slots, ((0, 0), (0, len(self.destructive))))

    def call(self, images, training=None):
        """Make the views; see the class."""
        self._check(images)
        images = self._clean(images)
        batch_size, (height, width) = ops.shape(images)[0], images.shape[1:3]
        parts = [
            0 if self.crop is None else self.crop.num_draws,
            self.num_shared_draws,
            self.num_shared_draws,
            *(transform.num_draws for transform in self.destructive),
            self.mask.num_draws,
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
        crop_draws, target_draws, source_draws, *destructive_draws, mask_draws = draws

        if self.crop is not None:
            boxes = self.crop.sample(crop_draws, height, width)
            images = self.crop.apply(images, boxes)
        images = self._from_values(images)
        target_parameters = self.sample_shared(target_draws)
        source_parameters = self.sample_shared(source_draws)
        target = self._transform(images, target_parameters)
        source = self._transform(images, source_parameters)
        flags = []
        for transform, transform_draws in zip(
            self.destructive, destructive_draws, strict=True
        ):
            parameters = transform.sample(transform_draws)
            source = transform.apply(source, parameters)
            identity = ops.convert_to_tensor(transform.identity, dtype="float32")
            touched = ops.any(parameters != identity, axis=-1, keepdims=True)
            flags.append(ops.cast(touched, "float32"))
        action = self.shared_action(source_parameters, target_parameters)
        action = ops.concatenate(
            [action[:, : self.num_shared_parameters], *flags], axis=-1
        )
        context_ids, target_ids = self.mask(mask_draws)
        return {
            "source": self._to_values(source),
            "target": self._to_values(target),
            "action": action,
            "context_ids": context_ids,
            "target_ids": target_ids,
        }

    def _transform(self, images, parameters):
        """Images in [0, 1] under the shared operations."""
        start = 0
        for transform in self.shared:
            stop = start + len(transform.parameters)
            images = transform.apply(images, parameters[:, start:stop])
            start = stop
        return images

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
        expected = "(batch, height, width, 3), channels last, as numbers"
        if not hasattr(images, "shape") or not hasattr(images, "dtype"):
            raise ValueError(
                f"`images` must be one tensor {expected}. Received: "
                f"{type(images).__name__}. Stack the images into one array."
            )
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[3] != 3:
            raise ValueError(
                f"`images` must be {expected}. Received shape: {shape}. Add the batch "
                "axis to a single image, move channels last, repeat a grey channel."
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
            "shared": [serialize(transform) for transform in self.shared],
            "destructive": [serialize(transform) for transform in self.destructive],
            "value_range": self.value_range,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """Rebuild the layer; parts may be objects or their dictionaries."""

        def rebuild(part):
            """The object that a dictionary describes; objects stay themselves."""
            if isinstance(part, dict):
                return keras.saving.deserialize_keras_object(part)
            return part

        config = dict(config)
        for name in ("mask", "crop"):
            config[name] = rebuild(config[name])
        for name in ("shared", "destructive"):
            config[name] = [rebuild(part) for part in config[name]]
        return cls(**config)


def _as_transforms(name, transforms):
    """`transforms` as a tuple, each checked for what a slot needs."""
    needed = ("sample", "apply", "parameters", "identity", "scales", "num_draws")
    if not isinstance(transforms, (list, tuple)):
        raise ValueError(
            f"`{name}` must be a list of Transform objects, () for none. Received: "
            f"{transforms!r}."
        )
    for transform in transforms:
        if not all(hasattr(transform, attribute) for attribute in needed):
            raise ValueError(
                f"`{name}` must hold Transform objects. Received: {transform!r}."
            )
        count = len(transform.parameters)
        if not 1 <= count == len(transform.identity) == len(transform.scales):
            raise ValueError(
                f"{type(transform).__name__} in `{name}` must have parameters, and one "
                f"identity and one scale for each of {transform.parameters}. "
                f"Received: {transform.identity} and {transform.scales}."
            )
    return tuple(transforms)


def _as_value_range(value_range):
    """`value_range` as two rising floats, or a ValueError that says so."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not -float("inf") < low < high < float("inf"):
        raise ValueError(
            "`value_range` must be a pair (smallest, largest) of finite numbers, such "
            f"as (0, 255). Received: {value_range!r}."
        )
    return low, high
