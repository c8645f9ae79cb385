"""From clips to patch tokens."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.layers.patch_embedding import PatchEmbedding, grid_of_images
from keras_iwm.type_aliases import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class TubeletEmbedding(PatchEmbedding):
    """Cut clips into patches over several frames, and map each to a token.

    Args:
        tubelet_size: Integer, frames of a patch.
        patch_size: Integer, side of a patch in pixels.
        hidden_dim: Integer, features of a token.
        initializer_stddev: Optional float, see `PatchEmbedding`.
        **kwargs: Passed to `keras.layers.Layer`.

    Call arguments:
        clips: Tensor of shape `(batch_size, frames, height, width, num_channels)`,
            frames and sides multiples of `tubelet_size` and `patch_size`.
        patch_ids: Optional integer tensor of shape `(batch_size, num_patches)`,
            positions on the grid, frames first, then row by row.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)`.

    Example:

    ```python
    clips = keras.random.uniform((2, 8, 32, 32, 3))
    tokens = keras_iwm.layers.TubeletEmbedding(2, 8, 64)(clips)  # (2, 64, 64)
    ```
    """

    def __init__(
        self,
        tubelet_size: int,
        patch_size: int,
        hidden_dim: int,
        initializer_stddev: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(patch_size, hidden_dim, initializer_stddev, **kwargs)
        self.tubelet_size = as_count("tubelet_size", tubelet_size)

    @property
    def pixels_in_patch(self) -> int:
        """Pixels that one token is made of, over all frames."""
        return self.tubelet_size * super().pixels_in_patch

    def cut(self, images: Tensor) -> Tensor:
        """Return the pixels of all patches of clips, frame by frame."""
        frames, size = self.tubelet_size, self.patch_size
        length, height, width, num_channels = images.shape[1:]
        rows, columns = height // size, width // size
        # Clips and tubelets share an axis: six are fewer than eight to transpose.
        parts = (-1, frames, rows, size, columns, size * num_channels)
        patches = ops.transpose(ops.reshape(images, parts), (0, 2, 4, 1, 3, 5))
        num_patches = length // frames * rows * columns
        return ops.reshape(
            patches, (-1, num_patches, self.pixels_in_patch * num_channels)
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "tubelet_size": self.tubelet_size}


def grid_of_clips(shape, tubelet_size, patch_size, num_channels):
    """Depth, rows and columns of the patches of clips of a shape, which is checked."""
    if len(shape) != 5 or shape[-1] != num_channels:
        raise ValueError(
            "`images` must be clips of shape (batch_size, frames, height, width, "
            f"{num_channels}), or images without the axis of frames. Received: "
            f"{tuple(shape)}. Move the channels last, or make the encoder with the "
            "clips' `num_channels`."
        )
    if shape[1] is None or shape[1] < 1 or shape[1] % tubelet_size:
        raise ValueError(
            "The number of frames must be a known multiple of `tubelet_size`. "
            f"Received: num_frames={shape[1]}, tubelet_size={tubelet_size}. Take more "
            "frames or fewer, or choose another tubelet size."
        )
    sides = grid_of_images((shape[0], *shape[2:]), patch_size, num_channels)
    return (shape[1] // tubelet_size, *sides)
