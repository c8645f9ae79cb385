"""The encoder with causal attention."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_iwm.backbones.encoder_around import EncoderAround
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.position_embedding import ROTARY
from keras_iwm.type_aliases import Array, Config, Tensor
from keras_iwm.views.patch_order import patch_order


@keras.saving.register_keras_serializable(package="keras_iwm")
class CausalEncoder(EncoderAround):
    """A `ViTEncoder` in which every patch attends to itself and those before it.

    A learned start token stands before the first patch. In between, the patches go in
    an order; each knows its own position on the grid, so that any will do. The weights
    are the encoder's: it goes on working by itself, with full attention.

    As a model it makes features of images, as the encoder does, under causal attention.
    `encode_sequence` is what an `AutoregressiveModel` learns with, `start_cache` and
    `extend` are for patches that come one by one.

    Args:
        encoder: `ViTEncoder` without prefix tokens, and with positions that are added
            to its tokens.
        order: Name of an order or a permutation of the patches, see `patch_order`. The
            order `"random"` is another one for each image in training; features are
            made in raster order then.
        **kwargs: Passed to `keras.Model`: `name`, `trainable`.

    Call arguments:
        images: Tensor of shape `(batch_size, height, width, num_channels)` of the
            encoder's `image_size`, integer or float in its `value_range`.
        training: Boolean, whether to drop paths.
        return_intermediates: Boolean, see `ViTEncoder`.

    Returns:
        Tensor of shape `(batch_size, num_patches, hidden_dim)` in the compute dtype,
        row by row of the grid whatever the order; or the dictionary of such tensors.

    Raises:
        ValueError: If the encoder has prefix tokens or rotary positions, there is no
            such order, or images have another size.

    Example:

    ```python
    encoder = keras_iwm.backbones.ViTEncoder(
        image_size=32, patch_size=8, hidden_dim=64, num_layers=2, num_heads=2
    )
    causal_encoder = keras_iwm.backbones.CausalEncoder(encoder, order="spiral")
    images = keras.random.uniform((4, 32, 32, 3), 0, 255)
    latents = causal_encoder(images)  # (4, 16, 64)
    ```
    """

    def __init__(
        self, encoder: ViTEncoder, order: str | Array = "raster", **kwargs: Any
    ) -> None:
        trainable = kwargs.pop("trainable", True)
        super().__init__(encoder, **kwargs)
        if encoder.num_prefix_tokens:
            raise ValueError(
                "`encoder` must have no prefix tokens beside the start token. Received "
                f"one with num_prefix_tokens={encoder.num_prefix_tokens}."
            )
        if encoder.positions in ROTARY:
            raise ValueError(
                "`encoder` must have positions that are added to its tokens. Received "
                f"one with positions={encoder.positions!r}. Make it with "
                "positions='rows_first'."
            )
        self.patch_ids = patch_order(encoder.grid_size, order)
        is_name = isinstance(order, str)
        self.order = order if is_name else tuple(self.patch_ids.tolist())
        if self.order == "random":
            self.patch_ids = patch_order(encoder.grid_size, "raster")
        self.start_token = self.add_weight(
            shape=(encoder.hidden_dim,),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="start_token",
        )
        self.built = True
        if not trainable:
            self.trainable = False

    def call(
        self,
        images: Tensor,
        training: bool | None = None,
        return_intermediates: bool = False,
    ) -> Any:
        """Encode images, each patch from itself and those before it."""
        images = ops.convert_to_tensor(images)
        if tuple(images.shape[1:3]) != self.image_size:
            raise ValueError(
                f"`images` must have the encoder's size, {self.image_size}, for which "
                f"there is an order of patches. Received: {tuple(images.shape)}."
            )
        patch_ids = ops.broadcast_to(
            self.patch_ids, (ops.shape(images)[0], self.num_patches)
        )
        intermediates = self._encode(images, patch_ids, None, training)
        # The start token is left out, and the patches go where they came from.
        places = ops.convert_to_tensor(np.argsort(self.patch_ids) + 1)
        if not return_intermediates:
            return ops.take(intermediates["norm"], places, axis=1)
        return {
            name: ops.take(tokens, places, axis=1)
            for name, tokens in intermediates.items()
        }

    def encode_sequence(
        self,
        images: Tensor,
        patch_ids: Tensor,
        prefix_lengths: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Encode the start token and then patches, each from what is before it.

        Args:
            images: Tensor of images, see the class.
            patch_ids: Integer tensor of shape `(batch_size, length)`, the patches in
                their order.
            prefix_lengths: Optional integer tensor of shape `(batch_size,)`, how many
                of the first patches attend to each other freely (prefix attention,
                arXiv 2401.08541, section 3).
            training: Boolean, whether to drop paths.

        Returns:
            Tensor of shape `(batch_size, 1 + length, hidden_dim)`.
        """
        return self._encode(images, patch_ids, prefix_lengths, training)["norm"]

    def _encode(self, images, patch_ids, prefix_lengths, training):
        """Tokens of start token and patches after each part of the encoder."""
        tokens = self.encoder.embed(images, patch_ids)
        start = ops.broadcast_to(self._start(), ops.shape(tokens[:, :1]))
        tokens = ops.concatenate([start, tokens], axis=1)
        places = ops.arange(tokens.shape[1], dtype="int32")
        mask = places[:, None] >= places
        if prefix_lengths is not None:
            # The start token is part of every prefix.
            in_prefix = places <= ops.cast(prefix_lengths, "int32")[:, None]
            mask = ops.logical_or(mask, in_prefix[:, None])
        intermediates = {"stem": tokens}
        for block in self.encoder.blocks:
            tokens = block(tokens, mask, training=training)
            intermediates[block.name] = tokens
        intermediates["norm"] = self.encoder.norm(tokens)
        return intermediates

    def _start(self):
        """The start token as a sequence of one."""
        return ops.cast(self.start_token, self.compute_dtype)[None, None]

    def start_cache(self, batch_size: int) -> tuple[Tensor, list[Any]]:
        """Return room for the keys and values of a sequence of `num_patches` tokens.

        Args:
            batch_size: Integer.

        Returns:
            The start token, of shape `(batch_size, 1, hidden_dim)`, and for each block
            a pair of tensors of shape `(batch_size, num_patches, num_heads, head_dim)`.
        """
        heads = self.encoder.num_heads
        shape = (batch_size, self.num_patches, heads, self.hidden_dim // heads)
        empty = ops.zeros(shape, self.compute_dtype)
        token = ops.broadcast_to(self._start(), (batch_size, 1, self.hidden_dim))
        return token, [(empty, empty) for _ in self.encoder.blocks]

    def extend(
        self, token: Tensor, cache: list[Any], index: Tensor
    ) -> tuple[Tensor, list[Any]]:
        """Encode one token more, from it and those before it.

        Args:
            token: Tensor of shape `(batch_size, 1, hidden_dim)`: the start token, or
                what `embed_patch` returns.
            cache: What `start_cache` or the last call has returned.
            index: Integer scalar tensor, the token's place in the sequence, from 0.

        Returns:
            Its latent, of shape `(batch_size, 1, hidden_dim)`, and the cache.
        """
        extended = []
        for block, pair in zip(self.encoder.blocks, cache, strict=True):
            token, pair = block.extend(token, pair, index)
            extended.append(pair)
        return self.encoder.norm(token), extended

    def embed_patch(self, pixels: Tensor, patch_ids: Tensor) -> Tensor:
        """Return the token of a patch whose pixels are known.

        Args:
            pixels: Tensor of shape `(batch_size, values)`, normalised as the encoder
                normalises images.
            patch_ids: Integer tensor of shape `(batch_size,)`, where it stands.

        Returns:
            Tensor of shape `(batch_size, 1, hidden_dim)`.
        """
        encoder = self.encoder
        pixels = ops.cast(pixels, self.compute_dtype)[:, None]
        positions = encoder.position_embedding.positions_of(self.grid_size)
        positions = ops.take(positions, patch_ids, axis=0)[:, None]
        tokens = encoder.patch_embedding.projection(pixels)
        return tokens + ops.cast(positions, tokens.dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "order": self.order}
