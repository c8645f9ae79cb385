"""An encoder whose tokens are moved on their way."""

import keras
from keras import ops

from keras_iwm.backend import KeptState

TINY = 1e-12


class MovedEncoder(KeptState, keras.Model):
    """Contexts of images, with the tokens moved behind some of the encoder's blocks.

    A move is a vector that all patches of an image are moved by behind a block. Where
    an earlier move has brought part of it about already, the rest of it is added: with
    moves behind all later blocks none of them takes back what the first has changed.

    It shares the encoder and owns no weights.

    Args:
        encoder: `ViTEncoder`.
        as_context: Function from the encoder's latents to what the predictor gets.
    """

    def __init__(self, encoder, as_context):
        super().__init__(dtype="float32", autocast=False)
        self.encoder = encoder
        self.as_context = as_context
        self.layers_moved = ("stem", *(block.name for block in encoder.blocks), "norm")
        self.built = True

    def call(self, inputs):
        """Encode images twice, plainly and with the moves.

        Args:
            inputs: Dictionary of `images`, `(batch, height, width, num_channels)`, and
                `moves`, `(batch, num_layers + 2, hidden_dim)`: of the embedded patches,
                behind each block, and of the context.

        Returns:
            Float32 contexts `(batch, num_patches, hidden_dim)`.
        """
        encoder, moves = self.encoder, inputs["moves"]
        first = encoder.num_prefix_tokens
        plain = encoder.embed(inputs["images"])
        moved = _move(plain, plain, moves[:, 0], first)
        for index, block in enumerate(encoder.blocks):
            plain, moved = (block(tokens, training=False) for tokens in (plain, moved))
            moved = _move(moved, plain, moves[:, index + 1], first)
        plain, moved = (
            ops.cast(self.as_context(encoder.norm(tokens)[:, first:]), "float32")
            for tokens in (plain, moved)
        )
        return _move(moved, plain, moves[:, -1], 0)


def _move(moved, plain, move, first):
    """Tokens from the `first` on moved by what is missing of a move."""
    tokens, move = ops.cast(moved, "float32"), move[:, None]
    done = ops.sum((tokens - ops.cast(plain, "float32")) * move, axis=-1, keepdims=True)
    size = ops.sum(move * move, axis=-1, keepdims=True)
    rest = move * (1.0 - done / ops.maximum(size, TINY))
    tokens = ops.concatenate([tokens[:, :first], (tokens + rest)[:, first:]], axis=1)
    return ops.cast(tokens, moved.dtype)
