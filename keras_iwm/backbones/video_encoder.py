"""The vision transformer encoder of clips."""

from typing import Any

import keras
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.array_arguments import check_batch_of_clips
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.tubelet_embedding import TubeletEmbedding, grid_of_clips
from keras_iwm.type_aliases import Config, Shape, Size, Tensor


@keras.saving.register_keras_serializable(package="keras_iwm")
class VideoEncoder(ViTEncoder):
    """Vision transformer that turns clips into one latent per patch of space and time.

    A patch is a tubelet: `tubelet_size` frames of a square of pixels (V-JEPA, arXiv
    2404.08471). All patches of a clip attend to each other. Everything else is as in
    `ViTEncoder`: positions, normalisation of pixels, blocks, `patch_ids`. Clips of
    another length or size are taken too: the positions are resampled.

    An image is a clip of one tubelet of equal frames, in the middle of time: the
    result has `rows * columns` latents, as that of a `ViTEncoder`.

    Args:
        image_size: Integer or pair of integers (height, width) of a frame in pixels,
            each a multiple of `patch_size`.
        patch_size: Integer, side of a patch in pixels.
        hidden_dim: Integer, features of a latent; a multiple of 4 and of
            `num_heads`, and at least 6.
        num_layers: Integer, number of blocks.
        num_heads: Integer, number of attention heads.
        num_frames: Integer, frames of a clip; a multiple of `tubelet_size`.
        tubelet_size: Integer, frames of a patch.
        **kwargs: What else `ViTEncoder` takes. Of its `positions`, fixed ones share
            the features between time, rows and columns, in this order with
            `"rows_first"` and `"uniform_power"`; a table that learns is one of all
            patches of the clip.

    Call arguments:
        images: Tensor of clips of shape `(batch_size, frames, height, width,
            num_channels)`, or of images of shape `(batch_size, height, width,
            num_channels)`; integer or float in `value_range`.
        patch_ids: Optional integer tensor of shape `(batch_size, num_patches)`:
            only the patches at these positions of the grid are encoded, and only they
            see each other. They count through the first tubelets row by row, then
            through the next.
        training: Boolean, whether to drop paths.
        return_intermediates: Boolean, see `ViTEncoder`.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)` in the compute
        dtype, or the dictionary of such tensors.

    Raises:
        ValueError: If a size does not divide, or clips have another rank or
            another number of channels.

    Example:

    ```python
    encoder = keras_iwm.backbones.VideoEncoder(
        image_size=32, patch_size=8, hidden_dim=48, num_layers=2, num_heads=2,
        num_frames=4,
    )
    encoder.grid_size  # (2, 4, 4)
    clips = keras.random.uniform((3, 4, 32, 32, 3), 0, 255)
    latents = encoder(clips)  # (3, 32, 48)
    of_images = encoder(clips[:, 0])  # (3, 16, 48)
    ```
    """

    takes_clips = True

    def __init__(
        self,
        image_size: Size,
        patch_size: int,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        num_frames: int = 16,
        tubelet_size: int = 2,
        **kwargs: Any,
    ) -> None:
        # Before the parts are made, which depend on them.
        self.num_frames = as_count("num_frames", num_frames)
        self.tubelet_size = as_count("tubelet_size", tubelet_size)
        super().__init__(
            image_size, patch_size, hidden_dim, num_layers, num_heads, **kwargs
        )

    @property
    def images_shape(self) -> Shape:
        """Shape of the clips that the encoder was made for."""
        return (None, self.num_frames, *self.image_size, self.num_channels)

    def grid_of(self, shape: Shape) -> tuple[int, ...]:
        """Return the grid of patches of clips, or images, of a shape.

        Args:
            shape: Tuple, `(batch_size, frames, height, width, num_channels)`, or
                without the frames.

        Returns:
            Tuple of three integers, depth, rows and columns. Images have depth 1.

        Raises:
            ValueError: If rank, channels, frames or sides do not fit the encoder.
        """
        if len(shape) == 4:
            shape = (shape[0], self.tubelet_size, *shape[1:])
        return grid_of_clips(
            shape, self.tubelet_size, self.patch_size, self.num_channels
        )

    def make_patch_embedding(self) -> TubeletEmbedding:
        """Make the layer that makes tokens of tubelets."""
        return TubeletEmbedding(
            self.tubelet_size,
            self.patch_size,
            self.hidden_dim,
            self.initializer_stddev,
            dtype=self.dtype_policy,
            name="patch_embedding",
        )

    def embed(self, images: Tensor, patch_ids: Tensor | None = None) -> Tensor:
        """Return the tokens that the first block sees of patches, clips or images."""
        images = ops.convert_to_tensor(images)
        if len(images.shape) == 4:
            images = ops.repeat(images[:, None], self.tubelet_size, axis=1)
        return super().embed(images, patch_ids)

    def check_batch(self, images: Any, name: str) -> None:
        """Refuse clips and images that cannot be meant."""
        if len(images.shape) == 4:
            super().check_batch(images, name)
        else:
            check_batch_of_clips(images, self.num_channels, self.value_range, name)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_frames": self.num_frames,
            "tubelet_size": self.tubelet_size,
        }
