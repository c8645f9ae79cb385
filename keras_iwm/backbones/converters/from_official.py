"""The files of I-JEPA's own code."""

from keras_iwm.backbones.converters.from_timm import encoder_from_timm
from keras_iwm.backbones.converters.joint_blocks import (
    block_values,
    dense_values,
    norm_values,
)
from keras_iwm.backbones.converters.network_sizes import kind_of_positions
from keras_iwm.backbones.converters.state_dictionary import StateDictionary

NETWORKS = ("target_encoder", "encoder")


def part_of(arrays, part, source):
    """Return the state dictionary of one network of a file.

    Args:
        arrays: Nested dictionary of arrays, what the file holds.
        part: String, the network's name.
        source: Path, for messages.

    Returns:
        Dictionary from names to arrays.

    Raises:
        ValueError: If it is not there.
    """
    if not isinstance(arrays.get(part), dict):
        raise ValueError(
            f"{source} must hold {part!r}, as files of I-JEPA's code do. Received: "
            f"{sorted(arrays)[:20]}."
        )
    return arrays[part]


def encoder_from_official(arrays, which, source, image_size=None, num_heads=None):
    """Read one of the two encoders, as `encoder_from_timm` does."""
    state = part_of(arrays, which, source)
    return encoder_from_timm(state, {}, f"{source}, {which},", image_size, num_heads)


def predictor_from_official(arrays, encoder_arguments, source):
    """Read the predictor.

    Args:
        arrays: Nested dictionary of arrays, what the file holds.
        encoder_arguments: Dictionary, of the `ViTEncoder` beside it: grid, width, and
            heads, of which the predictor has as many.
        source: Path, for messages.

    Returns:
        The arguments of a `WorldModelPredictor`, and a dictionary from its paths to
        arrays.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    arrays = part_of(arrays, "predictor", source)
    state = StateDictionary(arrays, f"{source}, predictor,", ("module.",))
    hidden_dim = encoder_arguments["hidden_dim"]
    patch_size = encoder_arguments["patch_size"]
    grid_size = tuple(side // patch_size for side in encoder_arguments["image_size"])
    width, _ = state.shape("predictor_embed.weight", 2)
    arguments, values = block_values(state, "predictor_blocks", width)
    positions = (1, grid_size[0] * grid_size[1], width)
    table = state.take("predictor_pos_embed", positions)[0]
    values |= {
        "mask_token": state.take("mask_token", (1, 1, width))[0, 0],
        **dense_values(state, "predictor_embed", "input_projection", hidden_dim, width),
        **norm_values(state, "predictor_norm", "norm", width),
        **dense_values(state, "predictor_proj", "output_projection", width, hidden_dim),
    }
    state.check()
    kind = kind_of_positions(table, grid_size, None, None)
    if kind is None or set(arguments) != {"num_layers", "mlp_dim"}:
        raise ValueError(
            f"{source} must have a predictor with fixed sine and cosine positions and "
            f"plain blocks. Received: another table, or blocks with {arguments}."
        )
    return {
        **arguments,
        "grid_size": grid_size,
        "hidden_dim": hidden_dim,
        "predictor_dim": width,
        "num_heads": encoder_arguments["num_heads"],
        "positions": kind,
    }, values
