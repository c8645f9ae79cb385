"""From images to patch tokens."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.layers.kernel_initializer import as_stddev, kernel_initializer
from keras_iwm.layers.token_dense import TokenDense
from keras_iwm.type_aliases import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class PatchEmbedding(keras.layers.Layer):
    """Cut images into square patches and map each to a token.

    With `patch_ids` only the wanted patches are embedded, so that the encoder
    never computes the masked ones.

    Args:
        patch_size: Integer, side of a patch in pixels.
        hidden_dim: Integer, features of a token.
        initializer_stddev: Optional float, the deviation of a normal from
            which the kernel starts. Defaults to Glorot's uniform.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)`,
            both sides multiples of `patch_size`.
        patch_ids: Optional integer tensor of shape `(batch_size, num_patches)`,
            positions on the grid row by row.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Example:

    ```python
    images = keras.random.uniform((2, 32, 32, 3))
    tokens = keras_iwm.layers.PatchEmbedding(8, 64)(images)  # (2, 16, 64)
    ```
    """

    def __init__(
        self,
        patch_size: int,
        hidden_dim: int,
        initializer_stddev: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.initializer_stddev = as_stddev(initializer_stddev)
        self.patch_size = as_count("patch_size", patch_size)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.projection = TokenDense(
            self.hidden_dim,
            kernel_initializer=kernel_initializer(self.initializer_stddev),
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, images_shape: Shape, patch_ids_shape: Shape | None = None) -> None:
        """Create the projection for patches of the images' channels."""
        features = images_shape[-1] * self.pixels_in_patch
        self.projection.build((None, None, features))

    def call(self, images: Tensor, patch_ids: Tensor | None = None) -> Tensor:
        """Embed all patches, or those at `patch_ids`."""
        patches = self.cut(images)
        if patch_ids is not None:
            patches = ops.take_along_axis(patches, patch_ids[..., None], axis=1)
        return self.projection(patches)

    @property
    def pixels_in_patch(self) -> int:
        """Pixels that one token is made of."""
        return self.patch_size**2

    def cut(self, images: Tensor) -> Tensor:
        """Return the pixels of all patches, a row of values each."""
        return cut_patches(images, self.patch_size)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "initializer_stddev": self.initializer_stddev,
        }


def cut_patches(images, patch_size):
    """Pixels of all patches, of shape (batch_size, num_patches, values)."""
    size = patch_size
    height, width, num_channels = images.shape[1:]
    rows, columns = height // size, width // size
    patches = ops.reshape(images, (-1, rows, size, columns, size * num_channels))
    patches = ops.transpose(patches, (0, 1, 3, 2, 4))
    return ops.reshape(patches, (-1, rows * columns, size**2 * num_channels))


def grid_of_images(shape, patch_size, num_channels):
    """Rows and columns of the patches of images of a shape, which is checked."""
    if len(shape) != 4 or shape[-1] != num_channels:
        raise ValueError(
            "`images` must have shape (batch_size, height, width, "
            f"{num_channels}). Received: {tuple(shape)}. Add a missing axis "
            "with images[None], or make the encoder with the images' `num_channels`."
        )
    check_divides(shape[1:3], patch_size)
    return tuple(side // patch_size for side in shape[1:3])


def check_divides(image_size, patch_size):
    """Refuse a patch size that leaves a rest."""
    if patch_size < 1 or any(side is None or side % patch_size for side in image_size):
        raise ValueError(
            "Image height and width must be known multiples of `patch_size`. "
            f"Received: image_size={tuple(image_size)}, patch_size={patch_size}. "
            "Resize or crop the images, or choose another patch size."
        )
