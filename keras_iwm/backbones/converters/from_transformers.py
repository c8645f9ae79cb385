"""`IJepaModel` of transformers."""

import numpy as np

from keras_iwm.backbones.converters.joint_blocks import (
    dense_values,
    norm_values,
    patch_values,
)
from keras_iwm.backbones.converters.network_sizes import grid_of, heads_of
from keras_iwm.backbones.converters.state_dictionary import StateDictionary

PATCHES = "embeddings.patch_embeddings.projection"
LEFT_OUT = ("classifier.", "pooler.")  # not of the encoder
# Names within a block: those of files, and those in memory since version 5.
NAMES = {
    "encoder.layer": {
        "query": "attention.attention.query",
        "key": "attention.attention.key",
        "value": "attention.attention.value",
        "attention/output_projection": "attention.output.dense",
        "mlp_hidden": "intermediate.dense",
        "mlp_output": "output.dense",
    },
    "layers": {
        "query": "attention.q_proj",
        "key": "attention.k_proj",
        "value": "attention.v_proj",
        "attention/output_projection": "attention.o_proj",
        "mlp_hidden": "mlp.fc1",
        "mlp_output": "mlp.fc2",
    },
}


def encoder_from_transformers(arrays, config, source, image_size=None, num_heads=None):
    """Read an `IJepaModel`, or that of a classifier.

    Args:
        arrays: Dictionary from names to arrays, perhaps behind `"ijepa."`.
        config: Dictionary, what transformers writes as `config.json`, and perhaps as
            `preprocessor_config.json`.
        source: Path, for messages.
        image_size: Optional integer or pair, which must be the config's.
        num_heads: Optional integer, likewise.

    Returns:
        The arguments of a `ViTEncoder`, and a dictionary from its paths to arrays. The
        arguments have no `positions`: the values have a table.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    told = {name: config.get(name) for name in ("model_type", "hidden_act")}
    needed = ("layer_norm_eps", "num_attention_heads", "image_size")
    if told != {"model_type": "ijepa", "hidden_act": "gelu"} or any(
        config.get(name) is None for name in needed
    ):
        raise ValueError(
            f"{source} must have a config.json beside it with model_type 'ijepa', "
            f"hidden_act 'gelu', and {', '.join(needed)}. Received: {config!r:.300}."
        )
    state = StateDictionary(arrays, source, ("ijepa.",), LEFT_OUT)
    kernel_shape = state.shape(f"{PATCHES}.weight", 4)
    width, num_channels, patch_size, _ = kernel_shape
    blocks = next((blocks for blocks in NAMES if state.count(blocks)), "encoder.layer")
    names = NAMES[blocks]
    mlp_dim, _ = state.shape(f"{blocks}.0.{names['mlp_hidden']}.weight", 2)
    _, num_positions, _ = state.shape("embeddings.position_embeddings", 3)
    grid = grid_of((num_positions,), patch_size, image_size, config["image_size"])
    values = {
        **patch_values(state, PATCHES, kernel_shape),
        "position_embedding/table": state.take(
            "embeddings.position_embeddings", (1, num_positions, width)
        )[0],
        **norm_values(state, "layernorm", "norm", width),
    }
    for index in range(state.count(blocks)):
        theirs, ours = f"{blocks}.{index}", f"block_{index:02d}"
        parts = [
            dense_values(state, f"{theirs}.{names[part]}", part, width, width)
            for part in ("query", "key", "value")
        ]
        query, key, value = (list(part.values()) for part in parts)
        values |= {
            **norm_values(
                state, f"{theirs}.layernorm_before", f"{ours}/attention_norm", width
            ),
            f"{ours}/attention/query_key_value/kernel": np.concatenate(
                [query[0], key[0], value[0]], axis=1
            ),
            f"{ours}/attention/query_bias": query[1],
            f"{ours}/attention/value_bias": value[1],  # the softmax cancels the key's
            **norm_values(
                state, f"{theirs}.layernorm_after", f"{ours}/mlp_norm", width
            ),
        }
        for layer, inputs, outputs in (
            ("attention/output_projection", width, width),
            ("mlp_hidden", width, mlp_dim),
            ("mlp_output", mlp_dim, width),
        ):
            values |= dense_values(
                state, f"{theirs}.{names[layer]}", f"{ours}/{layer}", inputs, outputs
            )
    state.check()
    return {
        "image_size": tuple(side * patch_size for side in grid),
        "patch_size": patch_size,
        "hidden_dim": width,
        "num_layers": state.count(blocks),
        "num_heads": heads_of(width, num_heads, config["num_attention_heads"]),
        "mlp_dim": mlp_dim,
        "num_channels": num_channels,
        "epsilon": config["layer_norm_eps"],
        "mean": config.get("image_mean"),
        "std": config.get("image_std"),
    }, values
