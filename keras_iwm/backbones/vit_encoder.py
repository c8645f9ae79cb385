"""The vision transformer encoder."""

import math

import keras
import numpy as np
from keras import ops

from keras_iwm.arguments import (
    as_boolean,
    as_channel_values,
    as_count,
    as_number,
    as_size,
    as_value_range,
)
from keras_iwm.array_arguments import check_values
from keras_iwm.distribution.tensor_parallel_layout import check_splits
from keras_iwm.first_batch import first_batch
from keras_iwm.layers.composed_model import ComposedModel
from keras_iwm.layers.kernel_initializer import as_stddev
from keras_iwm.layers.patch_embedding import PatchEmbedding
from keras_iwm.layers.sincos_positions import sincos_positions
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.layers.transformer_block import transformer_blocks

# Of natural photos (ImageNet), as shares of the value range.
PHOTO_MEAN = (0.485, 0.456, 0.406)
PHOTO_STD = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViTEncoder(ComposedModel):
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
        num_channels: Integer, channels of the images.
        mean: Number or one for each channel, the mean of the pixels as a share of
            `value_range`. Defaults to that of natural photos with three channels, and
            to 0.5 with others.
        std: Number or one for each channel, their standard deviation as such a share.
            Defaults to that of natural photos with three channels, and to 0.25.
        remat: Boolean. If `True`, activations are computed again in the backward
            pass: less memory, about a third more time.
        initializer_stddev: Optional float, the deviation of a normal from
            which kernels start, 0.02 in I-JEPA. Defaults to Glorot's uniform.
        **kwargs: Passed to `keras.Model`: `name`, `dtype`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)`, integer
            or float in `value_range`.
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
            another number of channels.

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
        num_channels=3,
        mean=None,
        std=None,
        remat=False,
        initializer_stddev=None,
        **kwargs,
    ):
        # Sublayers are built here and frozen last: a flag that is set before the
        # weights exist does not reach all of them.
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        self.patch_size = as_count("patch_size", patch_size)
        check_divides(self.image_size, self.patch_size)
        self.grid_size = tuple(side // self.patch_size for side in self.image_size)
        self.num_patches = math.prod(self.grid_size)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.num_layers = as_count("num_layers", num_layers)
        self.num_heads = as_count("num_heads", num_heads)
        self.mlp_dim = as_count(
            "mlp_dim", 4 * self.hidden_dim if mlp_dim is None else mlp_dim
        )
        self.drop_path_rate = as_number(
            "drop_path_rate", drop_path_rate, 0.0, 1.0, below=True
        )
        self.value_range = as_value_range(value_range)
        self.num_channels = as_count("num_channels", num_channels)
        channels, photos = self.num_channels, self.num_channels == 3
        self.mean = as_channel_values(
            "mean", (PHOTO_MEAN if photos else 0.5) if mean is None else mean, channels
        )
        self.std = as_channel_values(
            "std", (PHOTO_STD if photos else 0.25) if std is None else std, channels
        )
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive. Received: std={std!r}.")
        self.remat = as_boolean("remat", remat)
        self.initializer_stddev = as_stddev(initializer_stddev)
        sincos_positions(self.grid_size, hidden_dim)  # refuses a wrong width early
        check_splits(self.name, num_heads, self.mlp_dim)

        policy = self.dtype_policy
        self.patch_embedding = PatchEmbedding(
            self.patch_size,
            hidden_dim,
            self.initializer_stddev,
            dtype=policy,
            name="patch_embedding",
        )
        self.blocks = transformer_blocks(
            self.num_layers,
            self.drop_path_rate,
            num_heads=self.num_heads,
            mlp_dim=self.mlp_dim,
            remat=self.remat,
            initializer_stddev=self.initializer_stddev,
            dtype=policy,
        )
        self.norm = TokenNorm(dtype=policy, name="norm")
        self.build((None, *self.image_size, self.num_channels))
        self.trainable = trainable

    def build(self, images_shape):
        """Create all weights; the constructor does it."""
        if self.built:
            return
        self.patch_embedding.build(images_shape)
        for block in (*self.blocks, self.norm):
            block.build((None, None, self.hidden_dim))

    @property
    def input_signature(self):
        """What `call` takes, for `export`."""
        shape = (None, *self.image_size, self.num_channels)
        return [keras.InputSpec(shape=shape, dtype="float32", name="images")]

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

    def predict(self, x, *args, **kwargs):
        """Predict like any Keras model, after a look at images that are arrays.

        Args:
            x: What `keras.Model.predict` takes.
            *args: What else it takes.
            **kwargs: What else it takes.

        Returns:
            NumPy array of latents.

        Raises:
            ValueError: If the images cannot be meant for `value_range`.
        """
        batch, x = first_batch(x)
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        if hasattr(images, "shape"):
            check_values(images, self.value_range, "x")
        return super().predict(x, *args, **kwargs)

    def _normalize(self, images):
        """Map pixels to about mean 0 and deviation 1."""
        low, high = self.value_range
        mean, std = np.array(self.mean, "float32"), np.array(self.std, "float32")
        scale = 1 / ((high - low) * std)
        offset = -low * scale - mean / std
        images = ops.cast(images, "float32")
        images = images * ops.convert_to_tensor(scale, "float32")
        images = images + ops.convert_to_tensor(offset, "float32")
        return ops.cast(images, self.compute_dtype)

    def _grid_of(self, images):
        """Rows and columns of the patches of `images`, after checking them."""
        if len(images.shape) != 4 or images.shape[-1] != self.num_channels:
            raise ValueError(
                "`images` must have shape (batch_size, height, width, "
                f"{self.num_channels}). Received: {tuple(images.shape)}. Add a missing "
                "axis with images[None], or make the encoder with the images' "
                "`num_channels`."
            )
        check_divides(images.shape[1:3], self.patch_size)
        return tuple(side // self.patch_size for side in images.shape[1:3])

    def compute_output_spec(
        self, images, patch_ids=None, training=None, return_intermediates=False
    ):
        """Return what `call` returns, as symbolic tensors.

        A height or width that is not known yet leaves the number of patches open.
        """
        if patch_ids is not None:
            num_patches = patch_ids.shape[1]
        elif None in images.shape[1:3]:
            num_patches = None
        else:
            num_patches = math.prod(self._grid_of(images))
        shape = (images.shape[0], num_patches, self.hidden_dim)
        latents = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_intermediates:
            return latents
        names = ("stem", *(block.name for block in self.blocks), "norm")
        return {
            name: keras.KerasTensor(shape, dtype=self.compute_dtype) for name in names
        }

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
            "num_channels": self.num_channels,
            "mean": self.mean,
            "std": self.std,
            "remat": self.remat,
            "initializer_stddev": self.initializer_stddev,
        }


def check_divides(image_size, patch_size):
    """Refuse a patch size that leaves a rest."""
    if patch_size < 1 or any(side is None or side % patch_size for side in image_size):
        raise ValueError(
            "Image height and width must be known multiples of `patch_size`. "
            f"Received: image_size={tuple(image_size)}, patch_size={patch_size}. "
            "Resize or crop the images, or choose another patch size."
        )
