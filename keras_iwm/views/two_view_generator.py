"""Two views of each image, which are to be recognised as those of one."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.actions.gaussian_blur import GaussianBlur
from keras_iwm.actions.solarization import Solarization
from keras_iwm.actions.transform import Transform
from keras_iwm.actions.transform_sequence import TransformSequence, as_objects
from keras_iwm.arguments import shown
from keras_iwm.type_aliases import Config, Size, Tensor, ValueRange
from keras_iwm.views.image_views import ImageViews
from keras_iwm.views.random_resized_crop import RandomResizedCrop

TWO_VIEW_KEYS = ("first", "second")
"""Names of what a contrastive model trains on."""


@keras.saving.register_keras_serializable(package="keras_iwm")
class TwoViewGenerator(ImageViews):
    """Turn images into two views of each, with nothing in common but the image.

    Each view has a crop and a draw of the operations of its own; unlike those of a
    `ViewGenerator`, views share no box, and nobody is told what leads from one to the
    other. By default they are those of MoCo v3 (arXiv 2104.02057) and BYOL (arXiv
    2006.07733): crops of 8 to 100 % with flips; colour jitter, grey, blur for all first
    views and a tenth of the second, solarization for a fifth of the second.

    It runs inside the compiled train step, on the accelerator, in float32 whatever the
    precision policy. Departures from the papers: jitter has a fixed order, and up to
    96 pixels blur is as wide as `GaussianBlur` says for such images.

    Args:
        image_size: Size of the views: an integer, or (height, width).
        transforms: Pair of lists of `Transform`s, the operations of the first and of
            the second view in their order. By default those of the papers for RGB
            images; for others `ActionSpace.default`'s, with the papers' blur and
            solarization.
        crop: A `RandomResizedCrop` to `image_size`, which each view draws for itself;
            by default one of 8 to 100 % of the area. `None` crops nothing: images must
            have `image_size`.
        num_channels: Integer, channels of the images.
        value_range: Smallest and largest pixel value of images and views. Values
            outside are clipped; NaN becomes the smallest.
        seed: Integer, or `None` for other draws in every run. Without training
            the draws are the same in every call, and in every run.

    Call arguments:
        images: `(batch, height, width, num_channels)`, integer or floating-point.
        training: Whether to draw anew in every call.

    Returns:
        A dictionary with `"first"` and `"second"`, `(batch, *image_size, num_channels)`
        float32 in `value_range`.

    Raises:
        ValueError: If arguments do not fit together, an operation needs another
            number of channels, or images have the wrong rank, channels, size or type.

    Example:

    ```python
    views = keras_iwm.views.TwoViewGenerator(image_size=32, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), "uint8")
    batch = views(images, training=True)
    batch["first"].shape, batch["second"].shape  # (4, 32, 32, 3), twice
    ```
    """

    keys = TWO_VIEW_KEYS

    def __init__(
        self,
        image_size: Size,
        transforms: tuple[Sequence[Transform], Sequence[Transform]]
        | Literal["default"] = "default",
        crop: RandomResizedCrop | Literal["default"] | None = "default",
        num_channels: int = 3,
        value_range: ValueRange = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, crop, num_channels, value_range, seed, **kwargs)
        if isinstance(transforms, str) and transforms == "default":
            transforms = default_transforms(self.image_size, self.num_channels)
        if not isinstance(transforms, (list, tuple)) or len(transforms) != 2:
            raise ValueError(
                "`transforms` must be two lists of Transform objects, one for each "
                f"view. Received: {shown(transforms)}."
            )
        self._sequences = [TransformSequence("transforms", part) for part in transforms]
        self.transforms = tuple(sequence.transforms for sequence in self._sequences)
        for sequence in self._sequences:
            sequence.check_channels(self.num_channels)

    def default_crop(self) -> RandomResizedCrop:
        """Return the papers' crop."""
        return RandomResizedCrop(self.image_size, scale=(0.08, 1.0))

    @property
    def draw_sizes(self) -> list[int]:
        """Uniform numbers of each view's crop and of its operations."""
        return [s for t in self._sequences for s in (self.crop_draws, t.num_draws)]

    def make_views(self, images: Tensor, *draws: Tensor) -> dict[str, Tensor]:
        """Make the views; see the class."""
        images, draws, views = self._clean(images), iter(draws), {}
        for key, sequence in zip(self.keys, self._sequences, strict=True):
            view = self.crop_images(images, next(draws))
            view = sequence.apply(view, sequence.sample(next(draws)))
            views[key] = self._to_values(view)
        return views

    def get_config(self) -> Config:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        transforms = [[serialize(part) for part in view] for view in self.transforms]
        return {**super().get_config(), "transforms": transforms}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Rebuild the layer; parts may be objects or their dictionaries."""
        transforms = [as_objects(view) for view in config["transforms"]]
        return super().from_config({**config, "transforms": transforms})


def default_transforms(image_size, num_channels):
    """Operations of the two views as MoCo v3 and BYOL have them."""
    space = ActionSpace.default(image_size, num_channels)
    views = []
    for blur, solarization in ((1.0, 0.0), (0.1, 0.2)):
        probabilities = {GaussianBlur: blur, Solarization: solarization}
        views.append(
            [
                *space.shared.transforms,
                *(
                    with_probability(part, probabilities.get(type(part)))
                    for part in space.destructive.transforms
                ),
            ]
        )
    return tuple(views)


def with_probability(transform, probability):
    """A transform like another one, of another probability unless that is `None`."""
    if probability is None:
        return transform
    config = {**transform.get_config(), "probability": probability}
    return type(transform).from_config(config)
