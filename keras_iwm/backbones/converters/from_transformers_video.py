"""`VJEPA2Model` of transformers."""

from keras_iwm.arguments import as_count, as_size
from keras_iwm.backbones.converters.joint_blocks import (
    block_values,
    norm_values,
    patch_values,
)
from keras_iwm.backbones.converters.network_sizes import even_heads_of
from keras_iwm.backbones.converters.state_dictionary import StateDictionary

PATCHES = "encoder.embeddings.patch_embeddings.proj"
PREFIXES = ("vjepa2.",)
LEFT_OUT = ("predictor.", "pooler.", "classifier.")  # not of the encoder
NEEDED = ("layer_norm_eps", "num_attention_heads", "crop_size", "frames_per_clip")


def is_transformers_video(arrays):
    """Whether the arrays are of a `VJEPA2Model`."""
    return any(name.endswith(f"{PATCHES}.weight") for name in arrays)


def video_encoder_from_transformers(
    arrays, config, source, image_size, num_heads, num_frames
):
    """Read the encoder of a `VJEPA2Model`, or that of a classifier.

    Args:
        arrays: Dictionary from names to arrays, perhaps behind `"vjepa2."`.
        config: Dictionary, what transformers writes as `config.json`.
        source: Path, for messages.
        image_size: Optional integer or pair, in place of the config's.
        num_heads: Optional integer, which must be the config's.
        num_frames: Optional integer, in place of the config's.

    Returns:
        The arguments of a `VideoEncoder`, and a dictionary from its paths to arrays.

    Raises:
        ValueError: If the weights are of another network, or not all of it.
    """
    told = {name: config.get(name) for name in ("model_type", "hidden_act")}
    if told != {"model_type": "vjepa2", "hidden_act": "gelu"} or any(
        config.get(name) is None for name in NEEDED
    ):
        raise ValueError(
            f"{source} must have a config.json beside it with model_type 'vjepa2', "
            f"hidden_act 'gelu', and {', '.join(NEEDED)}. Received: {config!r:.300}."
        )
    state = StateDictionary(arrays, source, PREFIXES, LEFT_OUT)
    kernel_shape = state.shape(f"{PATCHES}.weight", 5)
    width, num_channels, tubelet_size, patch_size, _ = kernel_shape
    heads = even_heads_of(width, num_heads, config["num_attention_heads"])
    arguments, values = block_values(
        state, "encoder.layer", width, turned=True, pairs_of=heads
    )
    values |= {
        **patch_values(state, PATCHES, kernel_shape),
        **norm_values(state, "encoder.layernorm", "norm", width),
    }
    state.check()
    return {
        **arguments,
        "image_size": as_size("image_size", image_size or config["crop_size"]),
        "patch_size": patch_size,
        "hidden_dim": width,
        "num_heads": heads,
        "num_channels": num_channels,
        "num_frames": as_count("num_frames", num_frames or config["frames_per_clip"]),
        "tubelet_size": tubelet_size,
        "positions": "rotary_tiled",
        "epsilon": config["layer_norm_eps"],
        "mean": config.get("image_mean"),
        "std": config.get("image_std"),
    }, values
