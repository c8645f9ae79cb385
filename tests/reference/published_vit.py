"""Published networks in NumPy, in float64, from state dictionaries of their names.

Independent of our networks, and of the packages that the weights are of.
"""

import math

import numpy as np
from reference.numpy_vit import gelu, softmax


def columns_first_positions(rows, columns, dim):
    """The published order: the first half of the features encodes the column."""
    quarter = dim // 4
    frequencies = 1 / 10000 ** (np.arange(quarter) / quarter)
    table = []
    for row in range(rows):
        for column in range(columns):
            parts = [
                f(x * frequencies) for x in (column, row) for f in (np.sin, np.cos)
            ]
            table.append(np.concatenate(parts))
    return np.array(table)


def uniform_power_positions(grid_size, dim):
    """V-JEPA's: every axis has as many pairs, and what is too much is cut off."""
    pairs = -(-dim // 6)
    frequencies = 1 / 10000 ** (np.arange(pairs) / pairs)
    table = []
    for place in np.ndindex(*grid_size):
        parts = [f(x * frequencies) for x in place for f in (np.sin, np.cos)]
        table.append(np.concatenate(parts)[:dim])
    return np.array(table)


def random_encoder(
    seed,
    grid=(3, 3),
    patch_size=4,
    dim=16,
    depth=2,
    mlp=None,
    channels=3,
    class_token=False,
    registers=0,
    positions_of_prefix=True,
    layer_scale=False,
    gated=False,
    tubelet_size=None,
):
    """A state dictionary of an encoder of timm, or of (V-)JEPA without prefixes."""
    rng = np.random.default_rng(seed)
    state = {}

    def draw(name, *shape, scale=0.2, mean=0.0):
        state[name] = (mean + rng.normal(0, scale, shape)).astype("float32")

    prefix = class_token + registers
    if class_token:
        draw("cls_token", 1, 1, dim)
    if registers:
        draw("reg_token", 1, registers, dim)
    count = math.prod(grid) + prefix * positions_of_prefix
    draw("pos_embed", 1, count, dim)
    kernel = (patch_size, patch_size)
    kernel = kernel if tubelet_size is None else (tubelet_size, *kernel)
    draw("patch_embed.proj.weight", dim, channels, *kernel)
    draw("patch_embed.proj.bias", dim)
    add_blocks(draw, "blocks", depth, dim, mlp or 4 * dim, layer_scale, gated)
    draw("norm.weight", dim, mean=1)
    draw("norm.bias", dim)
    return state


def add_blocks(draw, name, depth, dim, mlp, layer_scale=False, gated=False):
    for index in range(depth):
        block = f"{name}.{index}"
        for norm in ("norm1", "norm2"):
            draw(f"{block}.{norm}.weight", dim, mean=1)
            draw(f"{block}.{norm}.bias", dim)
        for layer, outputs, inputs in (
            ("attn.qkv", 3 * dim, dim),
            ("attn.proj", dim, dim),
            ("mlp.fc1", (1 + gated) * mlp, dim),
            ("mlp.fc2", dim, mlp),
        ):
            draw(f"{block}.{layer}.weight", outputs, inputs)
            draw(f"{block}.{layer}.bias", outputs)
        if layer_scale:
            draw(f"{block}.ls1.gamma", dim)
            draw(f"{block}.ls2.gamma", dim)


def random_checkpoint(seed, grid=(3, 3), dim=16, predictor_dim=8, predictor_depth=2):
    """What a file of I-JEPA's code holds, in small."""
    parts = {}
    for place, name in enumerate(("encoder", "target_encoder")):
        parts[name] = random_encoder(seed + place, grid, dim=dim)
        parts[name]["pos_embed"] = _table(grid, dim)
    rng = np.random.default_rng(seed + 2)
    state = parts["predictor"] = {"predictor_pos_embed": _table(grid, predictor_dim)}

    def draw(name, *shape, scale=0.2, mean=0.0):
        state[name] = (mean + rng.normal(0, scale, shape)).astype("float32")

    draw("mask_token", 1, 1, predictor_dim)
    draw("predictor_embed.weight", predictor_dim, dim)
    draw("predictor_embed.bias", predictor_dim)
    add_blocks(
        draw, "predictor_blocks", predictor_depth, predictor_dim, 4 * predictor_dim
    )
    draw("predictor_norm.weight", predictor_dim, mean=1)
    draw("predictor_norm.bias", predictor_dim)
    draw("predictor_proj.weight", dim, predictor_dim)
    draw("predictor_proj.bias", dim)
    return {
        part: {f"module.{name}": array for name, array in state.items()}
        for part, state in parts.items()
    }


def _table(grid, dim):
    return columns_first_positions(*grid, dim).astype("float32")[None]


def norm(state, name, x):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def dense(state, name, x):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def run_block(state, name, x, heads):
    batch, tokens, dim = x.shape
    joint = dense(state, f"{name}.attn.qkv", norm(state, f"{name}.norm1", x))
    joint = joint.reshape(batch, tokens, 3, heads, dim // heads)
    query, key, value = joint.transpose(2, 0, 3, 1, 4)
    weights = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(dim // heads))
    mixed = (weights @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    attended = dense(state, f"{name}.attn.proj", mixed)
    x = x + attended * state.get(f"{name}.ls1.gamma", 1.0)
    hidden = dense(state, f"{name}.mlp.fc1", norm(state, f"{name}.norm2", x))
    if hidden.shape[-1] == state[f"{name}.mlp.fc2.weight"].shape[1]:
        hidden = gelu(hidden)
    else:
        gate, hidden = np.split(hidden, 2, axis=-1)
        hidden = gate / (1 + np.exp(-gate)) * hidden
    expanded = dense(state, f"{name}.mlp.fc2", hidden)
    return x + expanded * state.get(f"{name}.ls2.gamma", 1.0)


def doubles(state):
    return {
        k.removeprefix("module.").removeprefix("backbone."): v.astype("float64")
        for k, v in state.items()
    }


def encode(state, images, heads, patch_ids=None):
    """Latents of the patches of bytes, without those of class token and registers."""
    state = doubles(state)
    pixels = images.astype("float64") / 255
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel = state["patch_embed.proj.weight"]
    # Images are clips of one frame.
    if pixels.ndim == 4:
        kernel, pixels = kernel[:, :, None], pixels[:, None]
    depth, size = kernel.shape[-3], kernel.shape[-1]
    batch, frames, height, width, channels = pixels.shape
    grid = (frames // depth, depth, height // size, size, width // size, size)
    patches = pixels.reshape(batch, *grid, channels)
    x = np.einsum("btfrhcwk,dkfhw->btrcd", patches, kernel)
    x = x.reshape(batch, -1, len(kernel))
    x = x + state["patch_embed.proj.bias"]
    tokens = [state[n][0] for n in ("cls_token", "reg_token") if n in state]
    count = sum(map(len, tokens))
    table = state["pos_embed"][0]
    of_prefix = len(table) - x.shape[1]
    x = x + table[of_prefix:]
    if patch_ids is not None:
        x = np.take_along_axis(x, patch_ids[..., None], axis=1)
    if count:
        tokens = np.concatenate(tokens) + (table[:of_prefix] if of_prefix else 0)
        x = np.concatenate([np.repeat(tokens[None], batch, axis=0), x], axis=1)
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    for index in range(depth):
        x = run_block(state, f"blocks.{index}", x, heads)
    return norm(state, "norm", x)[:, count:]


def predict(state, latents, context_ids, target_ids, heads):
    """The predictor's latents at one set of targets an image."""
    state = doubles(state)
    table = state["predictor_pos_embed"][0]
    context = dense(state, "predictor_embed", latents) + table[context_ids]
    x = np.concatenate([context, state["mask_token"][0, 0] + table[target_ids]], axis=1)
    depth = len({n.split(".")[1] for n in state if n.startswith("predictor_blocks.")})
    for index in range(depth):
        x = run_block(state, f"predictor_blocks.{index}", x, heads)
    x = norm(state, "predictor_norm", x[:, context.shape[1] :])
    return dense(state, "predictor_proj", x)
