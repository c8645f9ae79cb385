"""Predictors of V-JEPA and V-JEPA 2, of their own code and of transformers."""

import math

import numpy as np

from keras_iwm.backbones.converters import (
    from_official_video,
    from_transformers_video,
)
from keras_iwm.backbones.converters.from_official import part_of
from keras_iwm.backbones.converters.joint_blocks import (
    block_values,
    dense_values,
    norm_values,
)
from keras_iwm.backbones.converters.network_sizes import (
    even_heads_of,
    kind_of_positions,
)
from keras_iwm.backbones.converters.state_dictionary import StateDictionary
from keras_iwm.layers.position_embedding import ROTARY

HEAD_DIM = 32  # of V-JEPA 2; V-JEPA's predictor has as many heads as its encoder
EPSILON = 1e-6
OFFICIAL = {
    "input_projection": "predictor_embed",
    "norm": "predictor_norm",
    "output_projection": "predictor_proj",
    "blocks": "predictor_blocks",
}
TRANSFORMERS = {
    "input_projection": "predictor.embeddings.predictor_embeddings",
    "norm": "predictor.layernorm",
    "output_projection": "predictor.proj",
    "blocks": "predictor.layer",
}


def video_predictor(arrays, config, encoder, source):
    """Read the predictor that stands beside an encoder.

    Args:
        arrays: Dictionary of arrays, of an official file nested, what the file holds.
        config: Dictionary, what transformers writes as `config.json`, or empty.
        encoder: `VideoEncoder` of the same file.
        source: Path, for messages.

    Returns:
        The arguments of a `WorldModelPredictor`, and a dictionary from its paths to
        arrays.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    is_rotary = encoder.positions in ROTARY
    if from_transformers_video.is_transformers_video(arrays):
        names = TRANSFORMERS
        left_out = ("encoder.", "pooler.", "classifier.")
        prefixes = from_transformers_video.PREFIXES
    else:
        names = OFFICIAL
        arrays, source = part_of(arrays, "predictor", source), f"{source}, predictor,"
        # V-JEPA 2 has a table that it does not use.
        left_out = ("predictor_pos_embed",) if is_rotary else ()
        prefixes = from_official_video.PREFIXES
    state = StateDictionary(arrays, source, prefixes, left_out)
    width, hidden_dim = state.shape(f"{names['input_projection']}.weight", 2)
    heads = width // HEAD_DIM if is_rotary else encoder.num_heads
    heads = even_heads_of(width, config.get("pred_num_attention_heads", heads))
    arguments, values = block_values(
        state, names["blocks"], width, is_rotary, heads if is_rotary else None
    )
    masks = _mask_tokens(state, width)
    values |= {
        "mask_token": masks if len(masks) > 1 else masks[0],
        **dense_values(
            *(state, names["input_projection"], "input_projection"),
            *(encoder.hidden_dim, width),
        ),
        **norm_values(state, names["norm"], "norm", width),
        **dense_values(
            *(state, names["output_projection"], "output_projection"),
            *(width, encoder.hidden_dim),
        ),
    }
    positions = encoder.positions
    if not is_rotary:
        shape = (1, math.prod(encoder.grid_size), width)
        table = state.take("predictor_pos_embed", shape)[0]
        positions = kind_of_positions(table, encoder.grid_size, None, None)
    state.check()
    if positions is None or config.get("layer_norm_eps", EPSILON) != EPSILON:
        raise ValueError(
            f"{source} must have a predictor with fixed or rotary positions, and norms "
            f"that add {EPSILON}. Received: positions={positions}, config={config}."
        )
    return {
        **arguments,
        "grid_size": encoder.grid_size,
        "hidden_dim": hidden_dim,
        "predictor_dim": width,
        "num_heads": heads,
        "conditioning": "none",
        "positions": positions,
        "num_mask_tokens": len(masks),
    }, values


def _mask_tokens(state, width):
    """The mask tokens, one for each kind of mask."""
    together = "predictor.embeddings.mask_tokens"
    if together in state:
        return state.take(together, (*state.shape(together, 4)[:3], width))[:, 0, 0]
    count = sum(name.startswith("mask_tokens.") for name in state.arrays)
    names = [f"mask_tokens.{index}" for index in range(max(1, count))]
    return np.concatenate([state.take(name, (1, 1, width))[0] for name in names])
