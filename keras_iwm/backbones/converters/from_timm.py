"""Encoders of timm: I-JEPA, and others that are pre-norm vision transformers."""

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

LEFT_OUT = ("head.",)  # not of the encoder
# Other functions of weights with the same names and shapes.
OTHERS = ("rpn", "quickgelu", "rope")
DINOV3 = "dinov3"
DINOV3_BIASED = "qkvb"  # those with biases of queries and values
DINOV3_EPSILON = 1e-5
DINOV3_HEADS = {1280: 20, 4096: 32}  # where they are others than I-JEPA's


def encoder_from_timm(arrays, config, source, image_size=None, num_heads=None):
    """Read timm's `VisionTransformer`, or the encoder of I-JEPA's code.

    Args:
        arrays: Dictionary from names to arrays, `"blocks.0.norm1.weight"` and so on,
            perhaps behind `"module."`.
        config: Dictionary, what timm writes as `config.json`, or empty.
        source: Path, for messages.
        image_size: Optional integer or pair, where the positions are not of a square.
        num_heads: Optional integer, where the width is not of a published size.

    Returns:
        The arguments of a `ViTEncoder`, and a dictionary from its paths to arrays. The
        arguments have no `positions` where the values have a table.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    architecture = str(config.get("architecture", ""))
    other = [part for part in OTHERS if part in architecture]
    if other or config.get("model_args"):
        raise ValueError(
            f"{source} must be of an architecture of timm's without changes and with "
            f"norms before the branches. Received: {architecture!r}, "
            f"model_args={config.get('model_args')!r}."
        )
    state = StateDictionary(arrays, source, ("module.",), LEFT_OUT)
    is_dinov3 = DINOV3 in architecture
    if not is_dinov3 and ("blocks.0.gamma_1" in state or "pos_embed" not in state):
        raise ValueError(
            f"{source} must have a table of positions, pos_embed, and no gamma_1: "
            f"others turn queries and keys, of which only those of timm's {DINOV3} are "
            "read, with a config.json beside them that names the architecture. "
            f"Received: architecture {architecture!r}."
        )
    kernel_shape = state.shape("patch_embed.proj.weight", 4)
    width, num_channels, patch_size, _ = kernel_shape
    without = ()
    if is_dinov3:
        has_biases = DINOV3_BIASED in architecture
        without = ("key",) if has_biases else QUERY_KEY_VALUE
    arguments, values = block_values(
        state, "blocks", width, turned=is_dinov3, without=without
    )

    names = ("cls_token", "reg_token")
    names = [name for name in names if name in state]
    prefix = [state.take(name, state.shape(name, 3))[0] for name in names]
    num_prefix = sum(len(tokens) for tokens in prefix)
    if num_prefix:
        prefix = np.concatenate(prefix)
    stated = config.get("pretrained_cfg", config)
    sides = stated.get("input_size", (None,) * 3)[1:]
    sides = None if None in sides else sides
    if is_dinov3:
        size = as_size("image_size", image_size or sides or 256)
        num_heads = even_heads_of(width, num_heads or DINOV3_HEADS.get(width))
        arguments |= {"positions": "rotary_scaled", "epsilon": DINOV3_EPSILON}
    else:
        num_heads = heads_of(width, num_heads)
        _, num_positions, _ = state.shape("pos_embed", 3)
        counts = (num_positions - num_prefix, num_positions)
        grid = grid_of(counts, patch_size, image_size, sides)
        size = tuple(side * patch_size for side in grid)
        table = state.take("pos_embed", (1, num_positions, width))[0]
        if num_prefix and num_positions != grid[0] * grid[1]:  # they have some too
            prefix, table = prefix + table[:num_prefix], table[num_prefix:]
        values["position_embedding/table"] = table
    if num_prefix:
        values["position_embedding/prefix_tokens"] = prefix
    values |= {
        **patch_values(state, "patch_embed.proj", kernel_shape),
        **norm_values(state, "norm", "norm", width),
    }
    state.check()
    return {
        **arguments,
        "image_size": size,
        "patch_size": patch_size,
        "hidden_dim": width,
        "num_heads": num_heads,
        "num_channels": num_channels,
        "num_prefix_tokens": num_prefix,
        "mean": stated.get("mean"),
        "std": stated.get("std"),
    }, values
