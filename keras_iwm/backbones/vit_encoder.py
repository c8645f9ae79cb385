"""The vision transformer encoder."""

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import as_size
from keras_iwm.distribution.tensor_parallel_layout import check_splits
from keras_iwm.layers.patch_embedding import PatchEmbedding
from keras_iwm.layers.sincos_positions import sincos_positions
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.layers.transformer_block import transformer_blocks

IMAGE_MEAN = np.array([0.485, 0.456, 0.406], "float32")
IMAGE_STD = np.array([0.229, 0.224, 0.225], "float32")


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViTEncoder(keras.Model):
    """Vision transformer that turns images into one latent per patch.

    It has fixed sine and cosine positions, no class token, pre-norm blocks and a
    final norm (image world models, arXiv 2403.00504, section 3). It normalises
    the images itself, so that training and serving cannot drift apart. Images of
    another size than `image_size` are taken too: the positions are resampled.

    Args:
        image_size: Integer or pair of integers (height, width) in pixels, each a
            multiple of `patch_size`.
        patch_size: Integer, side of a patch in pixels.
        hidden_dim: Integer, features of a latent; a multiple of 4 and of
            `num_heads`.
        num_layers: Integer, number of blocks.
        num_heads: Integer, number of attention heads.
        mlp_dim: Integer, width of each block's MLP. Defaults to `4 * hidden_dim`.
        drop_path_rate: Float in [0, 1), stochastic depth of the last block; it
            rises linearly from 0 at the first.
        value_range: Pair of numbers, the range of the images' pixel values.
        remat: Boolean. If `True`, activations are computed again in the backward
            pass: less memory, about a third more time.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, 3)`, integer or float
            in `value_range`.
        patch_ids: Optional integer tensor of shape `(batch_size, num_patches)`:
            only the patches at these positions of the grid, row by row, are
            encoded, and only they see each other.
        training: Boolean, whether to drop paths.
        return_intermediates: Boolean. If `True`, a dictionary of the tokens after
            `"stem"`, `"block_00"`, `"block_01"`, ... and `"norm"` is returned.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)` in the compute
        dtype, or the dictionary of such tensors.

    Raises:
        ValueError: If a size does not divide, or images have another rank or
            another number of channels than 3.

    Example:

    ```python
    encoder = keras_iwm.backbones.ViTEncoder(
        image_size=32, patch_size=8, hidden_dim=64, num_layers=2, num_heads=2
    )
    images = keras.random.uniform((4, 32, 32, 3), 0, 255)
    latents = encoder(images)  # (4, 16, 64)
    ```
    """

    def __init__(
        self,
        image_size,
        patch_size,
        hidden_dim,
        num_layers,
        num_heads,
        mlp_dim=None,
        drop_path_rate=0.0,
        value_range=(0, 255),
        remat=False,
        **kwargs,
    ):
        # Sublayers are built here and frozen last: a flag that is set before the
        # weights exist does not reach all of them.
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        self.patch_size = int(patch_size)
        check_divides(self.image_size, self.patch_size)
        if value_range[1] <= value_range[0]:
            raise ValueError(
                "`value_range` must be a pair (low, high) with low < high, such as "
                f"(0, 255). Received: value_range={value_range}."
            )
        self.grid_size = tuple(side // self.patch_size for side in self.image_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim or 4 * hidden_dim
        self.drop_path_rate = drop_path_rate
        self.value_range = tuple(value_range)
        self.remat = remat
        sincos_positions(self.grid_size, hidden_dim)  # refuses a wrong width early
        check_splits(self.name, num_heads, self.mlp_dim)

        policy = self.dtype_policy
        self.patch_embedding = PatchEmbedding(
            self.patch_size, hidden_dim, dtype=policy, name="patch_embedding"
        )
        self.blocks = transformer_blocks(
            num_layers,
            drop_path_rate,
            num_heads=num_heads,
            mlp_dim=self.mlp_dim,
            remat=remat,
            dtype=policy,
        )
        self.norm = TokenNorm(dtype=policy, name="norm")
        # The model's name leads all paths: Keras on Torch knows weights by their path,
        # and teacher and student would hide each other.
        with keras.name_scope(self.name):
            self.patch_embedding.build((None, *self.image_size, 3))
            for block in (*self.blocks, self.norm):
                block.build((None, None, hidden_dim))
        self.built = True
        self.trainable = trainable

    def call(self, images, patch_ids=None, training=None, return_intermediates=False):
        """Encode the images, or their patches at `patch_ids`."""
        images = ops.convert_to_tensor(images)
        grid_size = self._grid_of(images)
        positions = ops.convert_to_tensor(
            sincos_positions(self.grid_size, self.hidden_dim, grid_size),
            dtype=self.compute_dtype,
        )
        if patch_ids is None:
            positions = positions[None]
        else:
            patch_ids = ops.convert_to_tensor(patch_ids)
            positions = ops.take(positions, patch_ids, axis=0)
        tokens = self.patch_embedding(self._normalize(images), patch_ids) + positions
        intermediates = {"stem": tokens}
        for block in self.blocks:
            tokens = block(tokens, training=training)
            intermediates[block.name] = tokens
        intermediates["norm"] = self.norm(tokens)
        return intermediates if return_intermediates else intermediates["norm"]

    def _normalize(self, images):
        """Map pixels to the mean 0 and deviation 1 of natural photos."""
        low, high = self.value_range
        scale = 1 / ((high - low) * IMAGE_STD)
        offset = -low * scale - IMAGE_MEAN / IMAGE_STD
        images = ops.cast(images, "float32")
        images = images * ops.convert_to_tensor(scale, "float32")
        images = images + ops.convert_to_tensor(offset, "float32")
        return ops.cast(images, self.compute_dtype)

    def _grid_of(self, images):
        """Rows and columns of the patches of `images`, after checking them."""
        if len(images.shape) != 4 or images.shape[-1] != 3:
            raise ValueError(
                "`images` must have shape (batch_size, height, width, 3). Received: "
                f"{tuple(images.shape)}. Add the missing axis with images[None], or "
                "repeat a gray channel three times."
            )
        check_divides(images.shape[1:3], self.patch_size)
        return tuple(side // self.patch_size for side in images.shape[1:3])

    def compute_output_shape(self, images_shape, patch_ids_shape=None):
        """Return the shape of the latents."""
        if patch_ids_shape is not None:
            num_patches = patch_ids_shape[1]
        else:
            num_patches = (images_shape[1] // self.patch_size) * (
                images_shape[2] // self.patch_size
            )
        return (images_shape[0], num_patches, self.hidden_dim)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "drop_path_rate": self.drop_path_rate,
            "value_range": self.value_range,
            "remat": self.remat,
        }


def check_divides(image_size, patch_size):
    """Refuse a patch size that leaves a rest."""
    if patch_size < 1 or any(side is None or side % patch_size for side in image_size):
        raise ValueError(
            "Image height and width must be known multiples of `patch_size`. "
            f"Received: image size {tuple(image_size)}, patch_size={patch_size}. "
            "Resize or crop the images, or choose another patch size."
        )
