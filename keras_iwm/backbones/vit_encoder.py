"""The vision transformer encoder."""

import math
from collections.abc import Sequence
from typing import Any, Self, get_args

import keras
from keras import ops

from keras_iwm.arguments import (
    as_boolean,
    as_choice,
    as_count,
    as_name,
    as_number,
    as_optional,
    as_positive,
    as_size,
    as_value_range,
)
from keras_iwm.array_arguments import check_batch_of_images
from keras_iwm.backbones.patch_encoder import PatchEncoder
from keras_iwm.backbones.presets import encoder_arguments, is_size
from keras_iwm.distribution.check_splits import check_splits
from keras_iwm.layers.kernel_initializer import as_stddev
from keras_iwm.layers.patch_embedding import PatchEmbedding, grid_of_images
from keras_iwm.layers.pixel_statistics import as_statistics, normalize_pixels
from keras_iwm.layers.position_embedding import (
    ROTARY,
    PositionEmbedding,
    Positions,
)
from keras_iwm.layers.token_norm import TokenNorm
from keras_iwm.layers.transformer_block import transformer_blocks
from keras_iwm.type_aliases import Config, Path, Shape, Size, Tensor, ValueRange


@keras.saving.register_keras_serializable(package="keras_iwm")
class ViTEncoder(PatchEncoder):
    """Vision transformer that turns images into one latent per patch.

    It has fixed sine and cosine positions, no class token, pre-norm blocks and a
    final norm (image world models, arXiv 2403.00504, section 3); what else published
    encoders have is there by arguments, see `read_published`. It normalises the
    images itself, so that training and serving cannot drift apart. Images of another
    size than `image_size` are taken too: the positions are resampled.

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
        positions: `"rows_first"` or `"columns_first"` for fixed sines and cosines,
            the first half of the features of the row, or of the column as in the
            published I-JEPA: other image sizes get those of their patches' centres.
            `"uniform_power"` shares as the published V-JEPA does, see
            `sincos_positions`.
            `"learned"` or `"learned_antialiased"` for a table that learns: it is
            resampled bicubically as transformers does, or with antialiasing as timm.
            `"rotary"` for none that are added: attention turns queries and keys by
            where they stand, on other image sizes by their places there; keys have a
            bias then. `"rotary_scaled"` spreads the places over the image, as the
            published DINOv3 does, and `"rotary_tiled"` is what the published V-JEPA 2
            does, see `rotary_positions`.
        epsilon: Float, added to the variance by all norms.
        num_prefix_tokens: Integer, learned tokens (class token, registers) that see
            the patches and are seen by them, and are not returned.
        layer_scale: Optional positive float, see `TransformerBlock`.
        gated_mlp: Boolean, see `TransformerBlock`.
        licence: Optional string, the licence of weights that others have published. It
            goes with the encoder, and into the metadata of presets.
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
        change: Optional function from such a name and the tokens behind it, those of
            the prefix first, to what goes on in their place; of all but `"norm"`.

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

    # Whether it is made for clips rather than images.
    takes_clips = False

    def __init__(
        self,
        image_size: Size,
        patch_size: int,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        mlp_dim: int | None = None,
        drop_path_rate: float = 0.0,
        value_range: ValueRange = (0, 255),
        num_channels: int = 3,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        remat: bool = False,
        initializer_stddev: float | None = None,
        positions: Positions = "rows_first",
        epsilon: float = 1e-6,
        num_prefix_tokens: int = 0,
        layer_scale: float | None = None,
        gated_mlp: bool = False,
        licence: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Sublayers are built here and frozen last: a flag that is set before the
        # weights exist does not reach all of them.
        trainable = kwargs.pop("trainable", True)
        super().__init__(autocast=False, **kwargs)
        self.image_size = as_size("image_size", image_size)
        self.patch_size = as_count("patch_size", patch_size)
        self.num_channels = as_count("num_channels", num_channels)
        self.grid_size = self.grid_of(self.images_shape)
        self.num_patches = math.prod(self.grid_size)
        self.hidden_dim = as_count("hidden_dim", hidden_dim)
        self.num_layers = as_count("num_layers", num_layers)
        self.num_heads = as_count("num_heads", num_heads)
        mlp_dim = 4 * self.hidden_dim if mlp_dim is None else mlp_dim
        self.mlp_dim = as_count("mlp_dim", mlp_dim)
        self.drop_path_rate = as_number(
            "drop_path_rate", drop_path_rate, 0.0, 1.0, below=True
        )
        self.value_range = as_value_range(value_range)
        self.mean, self.std = as_statistics(mean, std, self.num_channels)
        self.remat = as_boolean("remat", remat)
        self.initializer_stddev = as_stddev(initializer_stddev)
        self.positions = as_choice("positions", positions, get_args(Positions))
        self.epsilon = as_number("epsilon", epsilon, 0.0, 1.0)
        self.num_prefix_tokens = as_count("num_prefix_tokens", num_prefix_tokens, 0)
        self.layer_scale = as_optional(as_positive, "layer_scale", layer_scale)
        self.gated_mlp = as_boolean("gated_mlp", gated_mlp)
        self.licence = as_optional(as_name, "licence", licence)
        width = "hidden_dim", hidden_dim
        check_splits(self.name, width, num_heads, self.mlp_dim)
        policy = self.dtype_policy
        self.patch_embedding = self.make_patch_embedding()
        self.position_embedding = PositionEmbedding(
            self.positions,
            self.grid_size,
            self.hidden_dim,
            self.num_heads,
            self.num_prefix_tokens,
            dtype=policy,
            name="position_embedding",
        )
        names = ("num_heads", "mlp_dim", "remat", "initializer_stddev", "epsilon")
        names = (*names, "layer_scale", "gated_mlp")
        alike = {name: getattr(self, name) for name in names}
        self.blocks = transformer_blocks(
            self.num_layers,
            self.drop_path_rate,
            # Nothing cancels it in keys that are turned.
            use_key_bias=self.positions in ROTARY,
            dtype=policy,
            **alike,
        )
        self.norm = TokenNorm(self.epsilon, dtype=policy, name="norm")
        self.build(self.images_shape)
        self.trainable = trainable

    @classmethod
    def from_preset(
        cls, preset: Path, load_weights: bool = True, **arguments: Any
    ) -> Self:
        """Load a pretrained encoder, or make an untrained one of a named size.

        Args:
            preset: String. `"iwm_tiny_32"`, whose weights come with the package. A
                folder that `save_to_preset` has written: of a pretraining model the
                feature encoder is taken. `"hf://facebook/ijepa_vith14_1k"`, a folder
                or a file of weights that others have published. Or, for
                `load_weights=False`, a name of `keras_iwm.backbones.PRESETS`.
            load_weights: Boolean. If `False`, the encoder starts at random.
            **arguments: Of a named size without weights, arguments of the constructor
                to change. Of what others have published, see `read_published`.

        Returns:
            A `ViTEncoder`.

        Raises:
            ValueError: If there is no such preset or it has no weights, its files are
                refused, or an argument cannot apply to it.
        """
        # It makes encoders, and needs this class.
        from keras_iwm.backbones.pretrained_encoder import pretrained_encoder

        if as_boolean("load_weights", load_weights) or not is_size(preset):
            return pretrained_encoder(cls, preset, load_weights, arguments)
        return cls(**{**encoder_arguments(preset, cls.takes_clips), **arguments})

    @property
    def images_shape(self) -> Shape:
        """Shape of the images that the encoder was made for."""
        return (None, *self.image_size, self.num_channels)

    def grid_of(self, shape: Shape) -> tuple[int, ...]:
        """Return the grid of patches of images of a shape.

        Args:
            shape: Tuple, `(batch_size, height, width, num_channels)`.

        Returns:
            Tuple of integers, rows and columns.

        Raises:
            ValueError: If rank, channels or sides do not fit the encoder.
        """
        return grid_of_images(shape, self.patch_size, self.num_channels)

    def make_patch_embedding(self) -> PatchEmbedding:
        """Make the layer that makes tokens of patches."""
        return PatchEmbedding(
            self.patch_size,
            self.hidden_dim,
            self.initializer_stddev,
            dtype=self.dtype_policy,
            name="patch_embedding",
        )

    def embed(self, images: Tensor, patch_ids: Tensor | None = None) -> Tensor:
        """Return the tokens that the first block sees of patches or images."""
        images = ops.convert_to_tensor(images)
        grid_size = self.grid_of(images.shape)
        if patch_ids is not None:
            patch_ids = ops.convert_to_tensor(patch_ids)
        images = normalize_pixels(images, self.value_range, self.mean, self.std)
        tokens = self.patch_embedding(ops.cast(images, self.compute_dtype), patch_ids)
        return self.position_embedding(tokens, patch_ids, grid_size=grid_size)

    def check_batch(self, images: Any, name: str) -> None:
        """Refuse images that cannot be meant, see `check_batch_of_images`."""
        check_batch_of_images(images, self.num_channels, self.value_range, name)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = (
            *("image_size", "patch_size", "hidden_dim", "num_layers", "num_heads"),
            *("mlp_dim", "drop_path_rate", "value_range", "num_channels", "mean"),
            *("std", "remat", "initializer_stddev", "positions", "epsilon"),
            *("num_prefix_tokens", "layer_scale", "gated_mlp", "licence"),
        )
        return super().get_config() | {name: getattr(self, name) for name in names}
