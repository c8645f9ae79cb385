"""Blocks and their parts, as I-JEPA's and V-JEPA's code and timm name them."""

import numpy as np


def patch_values(state, theirs, shape):
    """Read a convolution over patches as our product with (row, column, channel).

    Args:
        state: `StateDictionary`.
        theirs: String, the convolution's name there.
        shape: Tuple of integers: features, channels, perhaps frames, and rows of a
            patch; it must have as many columns.

    Returns:
        Dictionary from our paths to arrays.
    """
    weight = state.take(f"{theirs}.weight", (*shape[:-1], shape[-2]))
    kernel = np.moveaxis(weight, (0, 1), (-1, -2)).reshape(-1, shape[0])
    return {
        "patch_embedding/projection/kernel": kernel,
        "patch_embedding/projection/bias": state.take(f"{theirs}.bias", shape[:1]),
    }


def dense_values(state, theirs, ours, inputs, outputs):
    """Read a dense layer.

    Args:
        state: `StateDictionary`.
        theirs: String, the layer's name there.
        ours: String, its name here.
        inputs: Integer.
        outputs: Integer.

    Returns:
        Dictionary from our paths to arrays.
    """
    return {
        # Torch stores it the other way round.
        f"{ours}/kernel": state.take(f"{theirs}.weight", (outputs, inputs)).T,
        f"{ours}/bias": state.take(f"{theirs}.bias", (outputs,)),
    }


def norm_values(state, theirs, ours, width):
    """Read a layer normalisation, as `dense_values` reads a dense layer."""
    return {
        f"{ours}/gamma": state.take(f"{theirs}.weight", (width,)),
        f"{ours}/beta": state.take(f"{theirs}.bias", (width,)),
    }


def attention_values(state, theirs, ours, width, parts, rotary_heads=None):
    """Read a layer of attention.

    Args:
        state: `StateDictionary`.
        theirs: String, the layer's name there.
        ours: String, its name here.
        width: Integer, features of a token.
        parts: Tuple of strings, names of the products of query, key and value, or the
            name of the one that makes all three.
        rotary_heads: Optional integer, the number of heads if queries and keys are
            turned. Pairs are neighbours there, and half a head apart here; key biases
            are not cancelled by the softmax.

    Returns:
        Dictionary from our paths to arrays.
    """
    outputs = 3 * width // len(parts)
    kernel, bias = (
        np.concatenate([state.take(f"{theirs}.{part}.{kind}", shape) for part in parts])
        for kind, shape in (("weight", (outputs, width)), ("bias", (outputs,)))
    )
    if rotary_heads is not None:
        order = np.arange(width).reshape(rotary_heads, -1, 2)
        order = order.transpose(0, 2, 1).reshape(-1)
        order = np.concatenate([order, width + order, np.arange(2 * width, 3 * width)])
        kernel, bias = kernel[order], bias[order]
    query, key, value = np.split(bias, 3)
    values = {
        f"{ours}/query_key_value/kernel": kernel.T,
        f"{ours}/query_bias": query,
        f"{ours}/value_bias": value,
        **dense_values(
            state, f"{theirs}.proj", f"{ours}/output_projection", width, width
        ),
    }
    return values if rotary_heads is None else {**values, f"{ours}/key_bias": key}


def block_values(
    state, blocks, width, attention="attn", parts=("qkv",), rotary_heads=None
):
    """Read a stack of blocks.

    Args:
        state: `StateDictionary`.
        blocks: String, the stack's name: `"blocks"`.
        width: Integer, features of a token.
        attention: String, the name of attention in a block.
        parts: Tuple of strings, see `attention_values`.
        rotary_heads: Optional integer, see there.

    Returns:
        Pair of the arguments of our stack that follow, and of a dictionary from our
        paths to arrays.
    """
    hidden, _ = state.shape(f"{blocks}.0.mlp.fc1.weight", 2)
    _, mlp_dim = state.shape(f"{blocks}.0.mlp.fc2.weight", 2)
    arguments = {"num_layers": state.count(blocks), "mlp_dim": mlp_dim}
    if hidden == 2 * mlp_dim:
        arguments["gated_mlp"] = True
    if f"{blocks}.0.ls1.gamma" in state:
        arguments["layer_scale"] = 1e-5  # where it started in DINOv2
    values = {}
    for index in range(arguments["num_layers"]):
        theirs, ours = f"{blocks}.{index}", f"block_{index:02d}"
        values |= {
            **norm_values(state, f"{theirs}.norm1", f"{ours}/attention_norm", width),
            **attention_values(
                *(state, f"{theirs}.{attention}", f"{ours}/attention", width),
                *(parts, rotary_heads),
            ),
            **norm_values(state, f"{theirs}.norm2", f"{ours}/mlp_norm", width),
            **dense_values(
                state, f"{theirs}.mlp.fc1", f"{ours}/mlp_hidden", width, hidden
            ),
            **dense_values(
                state, f"{theirs}.mlp.fc2", f"{ours}/mlp_output", mlp_dim, width
            ),
        }
        if "layer_scale" in arguments:
            values |= {
                f"{ours}/attention_scale": state.take(f"{theirs}.ls1.gamma", (width,)),
                f"{ours}/mlp_scale": state.take(f"{theirs}.ls2.gamma", (width,)),
            }
    return arguments, values
