"""Blocks and their parts, by whatever names the sources give them."""

import numpy as np

QUERY_KEY_VALUE = ("query", "key", "value")
# What parts of a block are called: by the code of I-JEPA and V-JEPA, and timm; by
# transformers, in files and, since version 5, in memory.
NAMES = {
    "attention_norm": ("norm1", "layernorm_before"),
    "mlp_norm": ("norm2", "layernorm_after"),
    "joint": ("attn.qkv",),
    "query": ("attention.attention.query", "attention.q_proj", "attention.query"),
    "key": ("attention.attention.key", "attention.k_proj", "attention.key"),
    "value": ("attention.attention.value", "attention.v_proj", "attention.value"),
    "attention/output_projection": (
        *("attn.proj", "attention.output.dense", "attention.o_proj"),
        "attention.proj",
    ),
    "gate": ("mlp.gate_proj", "mlp.fc1_g"),
    "mlp_hidden": (
        *("mlp.fc1", "intermediate.dense", "mlp.weights_in", "mlp.up_proj"),
        "mlp.fc1_x",
    ),
    "mlp_output": ("mlp.fc2", "output.dense", "mlp.weights_out", "mlp.down_proj"),
    # Arrays, not layers.
    "attention_scale": ("ls1.gamma", "layer_scale1.lambda1", "gamma_1"),
    "mlp_scale": ("ls2.gamma", "layer_scale2.lambda1", "gamma_2"),
}
OPTIONAL = ("joint", "gate", "attention_scale")


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


def block_values(state, blocks, width, turned=False, pairs_of=None, without=()):
    """Read a stack of blocks.

    Args:
        state: `StateDictionary`.
        blocks: String, the stack's name: `"blocks"`.
        width: Integer, features of a token.
        turned: Boolean, whether queries and keys are turned: then the softmax does not
            cancel the biases of keys, and our keys have one.
        pairs_of: Optional integer, the number of heads, if features that are turned as
            a pair are neighbours there. Here they are half a head apart.
        without: Tuple of which of `QUERY_KEY_VALUE` have no bias there. Ours are 0.

    Returns:
        Pair of the arguments of our stack that follow, and of a dictionary from our
        paths to arrays.
    """
    names = _names_in(state, blocks)
    hidden, _ = state.shape(f"{blocks}.0.{names['mlp_hidden']}.weight", 2)
    _, mlp_dim = state.shape(f"{blocks}.0.{names['mlp_output']}.weight", 2)
    arguments = {"num_layers": state.count(blocks), "mlp_dim": mlp_dim}
    if hidden == 2 * mlp_dim or "gate" in names:
        arguments["gated_mlp"] = True
    if "attention_scale" in names:
        arguments["layer_scale"] = 1e-5  # where it started in DINOv2
    values = {}
    for index in range(arguments["num_layers"]):
        theirs = {part: f"{blocks}.{index}.{name}" for part, name in names.items()}
        ours = f"block_{index:02d}"
        kernel, biases = _query_key_value(state, theirs, width, without)
        if pairs_of is not None:
            order = np.arange(width).reshape(pairs_of, -1, 2)
            order = order.transpose(0, 2, 1).reshape(-1)
            kernel, biases = kernel.copy(), [*biases]
            for part in (0, 1):
                rows = slice(part * width, (part + 1) * width)
                kernel[rows] = kernel[rows][order]
                biases[part] = biases[part][order]
        values[f"{ours}/attention/query_key_value/kernel"] = kernel.T
        for part, bias in zip(QUERY_KEY_VALUE, biases, strict=True):
            if part != "key" or turned:
                values[f"{ours}/attention/{part}_bias"] = bias
        for part in ("attention_norm", "mlp_norm"):
            values |= norm_values(state, theirs[part], f"{ours}/{part}", width)
        for part, inputs, outputs in (
            ("attention/output_projection", width, width),
            ("mlp_hidden", width, hidden),
            ("mlp_output", mlp_dim, width),
        ):
            values |= dense_values(
                state, theirs[part], f"{ours}/{part}", inputs, outputs
            )
        if "gate" in names:  # a product of its own there
            gate = dense_values(state, theirs["gate"], "gate", width, hidden)
            for kind in ("kernel", "bias"):
                path = f"{ours}/mlp_hidden/{kind}"
                values[path] = np.concatenate(
                    [gate[f"gate/{kind}"], values[path]], axis=-1
                )
        if "layer_scale" in arguments:
            for part in ("attention_scale", "mlp_scale"):
                values[f"{ours}/{part}"] = state.take(theirs[part], (width,))
    return arguments, values


def _query_key_value(state, theirs, width, without):
    """The joint kernel as Torch stores it, and the biases of query, key and value."""
    zeros = np.zeros(width, "float32")
    if "joint" not in theirs:
        kernels = [
            state.take(f"{theirs[part]}.weight", (width, width))
            for part in QUERY_KEY_VALUE
        ]
        return np.concatenate(kernels), [
            zeros if part in without else state.take(f"{theirs[part]}.bias", (width,))
            for part in QUERY_KEY_VALUE
        ]
    joint = theirs["joint"]
    kernel = state.take(f"{joint}.weight", (3 * width, width))
    if not without:
        return kernel, np.split(state.take(f"{joint}.bias", (3 * width,)), 3)
    attention = joint.removesuffix("qkv")
    return kernel, [
        zeros if part in without else state.take(f"{attention}{part[0]}_bias", (width,))
        for part in QUERY_KEY_VALUE
    ]


def _names_in(state, blocks):
    """What a stack calls each part: what is there, or else what might be.

    Parts that not every network has are left out where they are not there.
    """
    present = [f"{name}." for name in state.names_within(blocks)]
    names = {}
    for part, known in NAMES.items():
        there = [n for n in known if any(p.startswith(f"{n}.") for p in present)]
        if there or part not in OPTIONAL:
            names[part] = (there or known)[0]
    return names
