"""Our encoders for users of transformers."""

import json

import numpy as np
from keras import ops

from keras_iwm.arguments import as_object, as_path
from keras_iwm.backbones.converters.joint_blocks import QUERY_KEY_VALUE
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.position_embedding import ROTARY
from keras_iwm.saving.read_weights import CONFIGS, WEIGHTS
from keras_iwm.saving.write_safetensors import write_safetensors
from keras_iwm.type_aliases import Path
from keras_iwm.whole_file import whole_file

BLOCKS = "encoder.layer"
PATCHES = "embeddings.patch_embeddings"


def save_transformers(encoder: ViTEncoder, folder: Path) -> None:
    """Write an encoder as a folder that transformers loads.

    `transformers.IJepaModel.from_pretrained(folder)` has the same latents at the
    encoder's own image size, and `AutoImageProcessor.from_pretrained(folder)` prepares
    images in bytes as the encoder does by itself: whatever its `value_range` is, black
    and white are the same. At other sizes transformers resamples positions in its own
    way. Low-rank updates are added to the kernels.

    Args:
        encoder: `ViTEncoder`, such as the `feature_encoder` of what was pretrained.
        folder: Path of the folder, which is made if missing.

    Raises:
        ValueError: If the encoder has what `IJepaModel` has not: prefix tokens, layer
            scale, a gated MLP, rotary positions, or quantised layers.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    keras_iwm.backbones.save_transformers(model.feature_encoder, "folder")
    ```
    """
    needed = ("patch_embedding", "position_embedding", "blocks", "norm", "gated_mlp")
    as_object("encoder", encoder, needed, "a ViTEncoder")
    folder = as_path("folder", folder)
    modes = {layer.quantization_mode for layer in encoder._flatten_layers()}
    further = {
        "num_prefix_tokens": encoder.num_prefix_tokens,
        "layer_scale": encoder.layer_scale,
        "gated_mlp": encoder.gated_mlp,
        "num_frames": getattr(encoder, "num_frames", None),
        "positions": encoder.positions if encoder.positions in ROTARY else None,
        "quantization_mode": modes - {None},
    }
    further = {name: value for name, value in further.items() if value}
    if further:
        raise ValueError(
            "`encoder` must be one that transformers' IJepaModel can hold. Received "
            f"one with {further}. Save it with `encoder.save`."
        )
    write_safetensors(folder / WEIGHTS, transformers_arrays(encoder))
    configs = {
        "config.json": {
            "architectures": ["IJepaModel"],
            "model_type": "ijepa",
            "hidden_size": encoder.hidden_dim,
            "num_hidden_layers": encoder.num_layers,
            "num_attention_heads": encoder.num_heads,
            "intermediate_size": encoder.mlp_dim,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "layer_norm_eps": encoder.epsilon,
            "image_size": _one_or_two(encoder.image_size),
            "patch_size": encoder.patch_size,
            "num_channels": encoder.num_channels,
            "qkv_bias": True,
        },
        "preprocessor_config.json": {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": dict(zip(("height", "width"), encoder.image_size, strict=True)),
            "resample": 2,  # Pillow's bilinear
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": encoder.mean,
            "image_std": encoder.std,
        },
    }
    for name in CONFIGS:
        with whole_file(folder / name) as unfinished:
            unfinished.write_text(json.dumps(configs[name], indent=2) + "\n")


def transformers_arrays(encoder):
    """Return the weights under the names that transformers' files have.

    Args:
        encoder: `ViTEncoder` that such a file can hold.

    Returns:
        Dictionary from names to float32 arrays.
    """
    width = encoder.hidden_dim
    patch = (encoder.patch_size, encoder.patch_size, encoder.num_channels)
    kernel = _array(encoder.patch_embedding.projection.kernel).reshape(*patch, width)
    positions = encoder.position_embedding.positions_of(encoder.grid_size)
    arrays = {
        f"{PATCHES}.projection.weight": kernel.transpose(3, 2, 0, 1),
        f"{PATCHES}.projection.bias": _array(encoder.patch_embedding.projection.bias),
        "embeddings.position_embeddings": _array(positions)[None],
        **_norm("layernorm", encoder.norm),
    }
    for index, block in enumerate(encoder.blocks):
        theirs, attention = f"{BLOCKS}.{index}", block.attention
        kernels = np.split(_array(attention.query_key_value.kernel), 3, axis=1)
        # Where we have no bias, for the softmax cancels it, zeros say the same.
        biases = [_array(attention.query_bias), _array(attention.value_bias)]
        biases.insert(1, np.zeros_like(biases[0]))
        for part, part_kernel, bias in zip(
            QUERY_KEY_VALUE, kernels, biases, strict=True
        ):
            arrays[f"{theirs}.attention.attention.{part}.weight"] = part_kernel.T
            arrays[f"{theirs}.attention.attention.{part}.bias"] = bias
        for layer, dense in (
            ("attention.output", attention.output_projection),
            ("intermediate", block.mlp_hidden),
            ("output", block.mlp_output),
        ):
            arrays[f"{theirs}.{layer}.dense.weight"] = _array(dense.kernel).T
            arrays[f"{theirs}.{layer}.dense.bias"] = _array(dense.bias)
        arrays |= _norm(f"{theirs}.layernorm_before", block.attention_norm)
        arrays |= _norm(f"{theirs}.layernorm_after", block.mlp_norm)
    return arrays


def _norm(name, norm):
    """A layer normalisation, by its names there."""
    return {f"{name}.weight": _array(norm.gamma), f"{name}.bias": _array(norm.beta)}


def _array(weight):
    """A weight as a float32 array, whatever its dtype."""
    return np.asarray(ops.convert_to_numpy(ops.cast(weight, "float32")))


def _one_or_two(size):
    """One number for a square, as transformers has it."""
    return size[0] if size[0] == size[1] else list(size)
