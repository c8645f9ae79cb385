"""Vision transformers of transformers: I-JEPA, ViT, MAE, DINOv2 and DINOv3."""

import numpy as np

from keras_iwm.arguments import as_size
from keras_iwm.backbones.converters.joint_blocks import (
    QUERY_KEY_VALUE,
    block_values,
    norm_values,
    patch_values,
)
from keras_iwm.backbones.converters.network_sizes import (
    even_heads_of,
    grid_of,
    heads_of,
)
from keras_iwm.backbones.converters.state_dictionary import StateDictionary

MODEL_TYPES = ("ijepa", "vit", "vit_mae", "dinov2", "dinov2_with_registers")
DINOV3 = "dinov3_vit"
MODEL_TYPES = (*MODEL_TYPES, DINOV3)
# How transformers resamples the tables of each, where not bicubically as it is.
ANTIALIASED = ("dinov2_with_registers",)
PREFIXES = ("ijepa.", "vit.", "dinov2.", "dinov2_with_registers.")
# Not of the encoder, or of pretraining alone.
LEFT_OUT = ("classifier.", "pooler.", "decoder.", "embeddings.mask_token")
PATCHES = "embeddings.patch_embeddings"
TABLE = "embeddings.position_embeddings"
# In files, and in memory since version 5.
BLOCKS = ("encoder.layer", "layers", "layer", "model.layer")
THETA = 100.0  # of DINOv3's positions


def is_transformers(arrays):
    """Whether the arrays are of such a model."""
    return any(f".{PATCHES}." in f".{name}" for name in arrays)


def learned_positions(config):
    """How transformers resamples a table that it has learned."""
    is_antialiased = config.get("model_type") in ANTIALIASED
    return "learned_antialiased" if is_antialiased else "learned"


def encoder_from_transformers(arrays, config, source, image_size=None, num_heads=None):
    """Read a vision transformer, or that of a classifier.

    Args:
        arrays: Dictionary from names to arrays, perhaps behind `"ijepa."`.
        config: Dictionary, what transformers writes as `config.json`, and perhaps as
            `preprocessor_config.json`.
        source: Path, for messages.
        image_size: Optional integer or pair, which must be the config's where there is
            a table of positions.
        num_heads: Optional integer, which must be the config's.

    Returns:
        The arguments of a `ViTEncoder`, and a dictionary from its paths to arrays. The
        arguments have no `positions` where the values have a table.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    _check_config(config, source)
    state = StateDictionary(arrays, source, PREFIXES, LEFT_OUT)
    # DINOv3's patches have no name of their own within.
    patches = PATCHES
    if f"{PATCHES}.projection.weight" in state:
        patches = f"{PATCHES}.projection"
    kernel_shape = state.shape(f"{patches}.weight", 4)
    width, num_channels, patch_size, _ = kernel_shape
    is_dinov3 = config["model_type"] == DINOV3
    read_heads = even_heads_of if is_dinov3 else heads_of
    num_heads = read_heads(width, num_heads, config["num_attention_heads"])
    blocks = next((blocks for blocks in BLOCKS if state.count(blocks)), BLOCKS[0])
    has_bias = config.get("qkv_bias", True)
    usual = {"query": has_bias, "key": has_bias and not is_dinov3, "value": has_bias}
    without = tuple(
        part for part in QUERY_KEY_VALUE if not config.get(f"{part}_bias", usual[part])
    )
    arguments, values = block_values(
        state, blocks, width, turned=is_dinov3, without=without
    )
    names = ("embeddings.cls_token", "embeddings.register_tokens")
    prefix = [
        state.take(name, (1, state.shape(name, 3)[1], width))[0]
        for name in names
        if name in state
    ]
    if is_dinov3:
        size = as_size("image_size", image_size or config["image_size"])
        arguments["positions"] = "rotary_scaled"
    else:
        _, num_positions, _ = state.shape(TABLE, 3)
        table = state.take(TABLE, (1, num_positions, width))[0]
        of_class = int(names[0] in state)  # registers have no positions
        counts = (num_positions - of_class,)
        grid = grid_of(counts, patch_size, image_size, config["image_size"])
        size = tuple(side * patch_size for side in grid)
        if of_class:
            prefix[0] = prefix[0] + table[:1]
        values["position_embedding/table"] = table[of_class:]
    if prefix:
        values["position_embedding/prefix_tokens"] = np.concatenate(prefix)
    norm = "norm" if "norm.weight" in state else "layernorm"
    values |= {
        **patch_values(state, patches, kernel_shape),
        **norm_values(state, norm, "norm", width),
    }
    state.check()
    return {
        **arguments,
        "image_size": size,
        "patch_size": patch_size,
        "hidden_dim": width,
        "num_heads": num_heads,
        "num_channels": num_channels,
        "num_prefix_tokens": sum(map(len, prefix)),
        "epsilon": config["layer_norm_eps"],
        "mean": config.get("image_mean"),
        "std": config.get("image_std"),
    }, values


def _check_config(config, source):
    """Refuse networks of another kind, or another function of the same weights."""
    kind, is_gated = config.get("model_type"), config.get("use_gated_mlp", False)
    activation = "silu" if is_gated else "gelu"
    needed = ("layer_norm_eps", "num_attention_heads", "image_size")
    faults = [name for name in needed if config.get(name) is None]
    if (
        faults
        or kind not in MODEL_TYPES
        or config.get("hidden_act") != activation
        or config.get("rope_theta", THETA) != THETA
    ):
        raise ValueError(
            f"{source} must have a config.json beside it with a model_type of "
            f"{', '.join(MODEL_TYPES)}, hidden_act {activation!r}, "
            f"{', '.join(needed)}, and of DINOv3 rope_theta {THETA:g}. Received: "
            f"{config!r:.300}."
        )
