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
        images, moves = inputs["images"], inputs["moves"]
        first = self.encoder.num_prefix_tokens
        plain = self.encoder(images, training=False, return_intermediates=True)

        def change(name, tokens):
            move = moves[:, self.layers_moved.index(name)]
            patches = _moved(tokens[:, first:], plain[name], move)
            return ops.concatenate([tokens[:, :first], patches], axis=1)

        latents = self.encoder(images, training=False, change=change)
        contexts = self.as_context(latents), self.as_context(plain["norm"])
        return ops.cast(_moved(*contexts, moves[:, -1]), "float32")


def _moved(tokens, plain, move):
    """Tokens moved by what is missing of a move."""
    moved, move = ops.cast(tokens, "float32"), move[:, None]
    done = ops.sum((moved - ops.cast(plain, "float32")) * move, axis=-1, keepdims=True)
    size = ops.sum(move * move, axis=-1, keepdims=True)
    moved = moved + move * (1.0 - done / ops.maximum(size, TINY))
    return ops.cast(moved, tokens.dtype)
