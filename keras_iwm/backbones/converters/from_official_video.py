"""The files of V-JEPA's and V-JEPA 2's own code."""

import math

from keras_iwm.arguments import as_size
from keras_iwm.backbones.converters.from_official import part_of
from keras_iwm.backbones.converters.joint_blocks import (
    block_values,
    norm_values,
    patch_values,
)
from keras_iwm.backbones.converters.network_sizes import even_heads_of, grid_of
from keras_iwm.backbones.converters.state_dictionary import StateDictionary
from keras_iwm.layers.position_embedding import ROTARY

PATCHES = "patch_embed.proj"
PREFIXES = ("module.", "backbone.")
VJEPA_MASKS = 2  # mask tokens of V-JEPA; V-JEPA 2 has ten
HEADS = {1408: 22}  # where V-JEPA 2 has others than I-JEPA


def is_official_video(arrays, which):
    """Whether a file's encoder, or the file if it is one, has patches over frames."""
    part = arrays.get(which, arrays)
    return isinstance(part, dict) and any(
        name.endswith(f"{PATCHES}.weight") and getattr(array, "ndim", 0) == 5
        for name, array in part.items()
    )


def video_encoder_from_official(
    arrays, which, source, image_size, num_heads, num_frames, positions
):
    """Read one of the two encoders of a file, or an encoder that is the file.

    Args:
        arrays: Dictionary of arrays, perhaps nested, what the file holds.
        which: String, the encoder's name.
        source: Path, for messages.
        image_size: Optional integer or pair, where the positions are not of a square;
            of V-JEPA 2, whose files do not tell, 256 by default.
        num_heads: Optional integer, where the width is not of a published size.
        num_frames: Optional integer, by default 16, or 64 of V-JEPA 2.
        positions: Optional string, where the file does not tell V-JEPA and V-JEPA 2
            apart.

    Returns:
        The arguments of a `VideoEncoder`, and a dictionary from its paths to arrays.
        Where the values have a table, the arguments have no `positions`.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    part = arrays
    if any(isinstance(value, dict) for value in arrays.values()):
        part, source = part_of(arrays, which, source), f"{source}, {which},"
    is_rotary = _is_rotary(part, arrays.get("predictor"), positions, source)
    # V-JEPA 2 has a table that it does not use.
    left_out = ("pos_embed",) if is_rotary else ()
    state = StateDictionary(part, source, PREFIXES, left_out)
    kernel_shape = state.shape(f"{PATCHES}.weight", 5)
    width, num_channels, tubelet_size, patch_size, _ = kernel_shape
    num_heads = even_heads_of(width, num_heads or HEADS.get(width))
    arguments = {
        "patch_size": patch_size,
        "hidden_dim": width,
        "num_heads": num_heads,
        "num_channels": num_channels,
        "tubelet_size": tubelet_size,
        "num_frames": num_frames or (64 if is_rotary else 16),
    }
    values = {
        **patch_values(state, PATCHES, kernel_shape),
        **norm_values(state, "norm", "norm", width),
    }
    if is_rotary:
        arguments["image_size"] = as_size("image_size", image_size or 256)
        arguments["positions"] = "rotary_tiled"
    else:
        _, num_positions, _ = state.shape("pos_embed", 3)
        depth = arguments["num_frames"] // tubelet_size
        counts = (num_positions // max(1, depth),)
        sides = grid_of(counts, patch_size, image_size)
        arguments["image_size"] = tuple(side * patch_size for side in sides)
        shape = (1, depth * math.prod(sides), width)
        values["position_embedding/table"] = state.take("pos_embed", shape)[0]
    pairs_of = num_heads if is_rotary else None
    of_blocks, block_arrays = block_values(state, "blocks", width, is_rotary, pairs_of)
    state.check()
    return {**arguments, **of_blocks}, {**values, **block_arrays}


def _is_rotary(part, predictor, positions, source):
    """Whether an encoder is V-JEPA 2's, which ignores a table of positions."""
    if positions is not None:
        return positions in ROTARY
    if not any(name.endswith("pos_embed") for name in part):
        return True
    if not isinstance(predictor, dict):
        raise ValueError(
            "`positions` must be given: 'rotary_tiled' if the weights are V-JEPA 2's, "
            "'uniform_power' if they are V-JEPA's, for the predictor that tells them "
            f"apart is not in {source}. Received: positions=None."
        )
    masks = [name for name in predictor if ".mask_tokens." in f".{name}"]
    return len(masks) != VJEPA_MASKS
