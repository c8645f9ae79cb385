"""A predictor that fits an encoder."""

import math

from keras_iwm.arguments import as_count, as_optional
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.layers.position_embedding import FIXED, LEARNED


def fitting_predictor(
    encoder, num_layers=None, predictor_dim=None, num_heads=None, **arguments
):
    """Make a predictor for an encoder's latents.

    Precision, stochastic depth, `remat`, positions and how kernels start are the
    encoder's.

    Args:
        encoder: `ViTEncoder`.
        num_layers: Optional integer, depth. Defaults to the encoder's.
        predictor_dim: Optional integer, width. Defaults to half of the encoder's.
        num_heads: Optional integer, attention heads. Defaults to the encoder's.
        **arguments: Of `WorldModelPredictor`, such as `conditioning` and `name`.

    Returns:
        A `WorldModelPredictor`.
    """
    num_layers = as_optional(as_count, "predictor_layers", num_layers)
    num_heads = as_optional(as_count, "predictor_heads", num_heads)
    num_heads = num_heads or encoder.num_heads
    predictor_dim = as_optional(as_count, "predictor_dim", predictor_dim)
    if predictor_dim is None:
        # Positions need a multiple of four.
        unit = math.lcm(4, num_heads)
        predictor_dim = unit * max(1, round(encoder.hidden_dim / 2 / unit))
    return WorldModelPredictor(
        encoder.grid_size,
        encoder.hidden_dim,
        predictor_dim,
        num_layers or encoder.num_layers,
        num_heads,
        drop_path_rate=encoder.drop_path_rate,
        remat=encoder.remat,
        initializer_stddev=encoder.initializer_stddev,
        # Of a table the predictor has no copy.
        positions=FIXED[0] if encoder.positions in LEARNED else encoder.positions,
        dtype=encoder.dtype_policy,
        **arguments,
    )
