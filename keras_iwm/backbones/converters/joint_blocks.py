"""Blocks whose query, key and value are one product: I-JEPA's code and timm."""

import numpy as np


def patch_values(state, theirs, shape):
    """Read a convolution over patches as our product with (row, column, channel).

    Args:
        state: `StateDictionary`.
        theirs: String, the convolution's name there.
        shape: Tuple of integers: features, channels, and rows of a patch; it must have
            as many columns.

    Returns:
        Dictionary from our paths to arrays.
    """
    weight = state.take(f"{theirs}.weight", (*shape[:3], shape[2]))
    kernel = np.transpose(weight, (2, 3, 1, 0)).reshape(-1, shape[0])
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


def block_values(state, blocks, width):
    """Read a stack of blocks.

    Args:
        state: `StateDictionary`.
        blocks: String, the stack's name: `"blocks"`.
        width: Integer, features of a token.

    Returns:
        Pair of the arguments of our stack that follow, and of a dictionary from our
        paths to arrays. Key biases are not among them: the softmax cancels them.
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
        joint = state.take(f"{theirs}.attn.qkv.weight", (3 * width, width))
        query, _, value = np.split(
            state.take(f"{theirs}.attn.qkv.bias", (3 * width,)), 3
        )
        values |= {
            **norm_values(state, f"{theirs}.norm1", f"{ours}/attention_norm", width),
            f"{ours}/attention/query_key_value/kernel": joint.T,
            f"{ours}/attention/query_bias": query,
            f"{ours}/attention/value_bias": value,
            **dense_values(
                *(state, f"{theirs}.attn.proj"),
                *(f"{ours}/attention/output_projection", width, width),
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
