"""Encoders that others have published."""

from typing import Literal

from keras_iwm.arguments import as_choice, as_path, as_value_range
from keras_iwm.backbones.converters.assign_values import assign_values
from keras_iwm.backbones.converters.from_official import (
    NETWORKS,
    encoder_from_official,
)
from keras_iwm.backbones.converters.from_timm import encoder_from_timm
from keras_iwm.backbones.converters.from_transformers import (
    PATCHES,
    encoder_from_transformers,
)
from keras_iwm.backbones.converters.network_sizes import kind_of_positions
from keras_iwm.backbones.converters.published_licence import print_licence
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.position_embedding import FIXED, LEARNED, AddedPositions
from keras_iwm.saving.hub_files import hub_files
from keras_iwm.saving.read_weights import read_weights
from keras_iwm.type_aliases import DType, Path, Size, ValueRange


def read_published(
    path: Path,
    which: Literal["target_encoder", "encoder"] = "target_encoder",
    image_size: Size | None = None,
    num_heads: int | None = None,
    value_range: ValueRange = (0, 255),
    dtype: DType | None = None,
    positions: AddedPositions | None = None,
) -> ViTEncoder:
    """Make an encoder with published weights.

    Its latents are those of the network that was published, see `docs/weights.md`. All
    of a file is looked at before anything is made of it, and nothing in it is run.
    Read are

    - files of I-JEPA's own code (`.pth.tar`), which Torch must be installed for;
    - `IJepaModel` of transformers, also inside a classifier, as a folder or
      `.safetensors` with its `config.json` beside it;
    - vision transformers of timm with norms before the branches and a final norm:
      I-JEPA, MAE, DeiT, DINOv2 also with registers, as a folder, as `.safetensors`, or
      a state dictionary that Torch has saved.

    Args:
        path: Path of the file or folder, or `"hf://organisation/model"`, which is
            downloaded by huggingface_hub once.
        which: `"target_encoder"`, which the papers evaluate, or `"encoder"`: the
            network of an I-JEPA file. Others hold one network, and ignore it; of
            I-JEPA it is `"encoder"`.
        image_size: Optional integer or pair (height, width) that the network was
            trained at, where neither config nor a square number of positions tells.
        num_heads: Optional integer, attention heads, where neither config nor the width
            of a published size tells.
        value_range: Pair of numbers, the range of pixel values of your images.
        dtype: Optional dtype or policy of Keras.
        positions: Optional string, see `ViTEncoder`. By default fixed ones, where the
            weights hold these, or else a learned table that is resampled as the source
            does. They differ at other image sizes than the network's: `"learned"` is
            exactly transformers there, `"learned_antialiased"` timm.

    Returns:
        A `ViTEncoder`.

    Raises:
        ValueError: If a file is missing, damaged or unsafe, or holds a weight too many,
            too few, of another shape or not finite: all of them are listed.
        ImportError: If the package is missing that reads or downloads it.

    Example:

    ```python
    encoder = keras_iwm.backbones.ViTEncoder(
        image_size=32, patch_size=8, hidden_dim=64, num_layers=2, num_heads=2
    )
    keras_iwm.backbones.save_transformers(encoder, "folder")
    encoder = keras_iwm.backbones.read_published("folder")
    ```
    """
    which = as_choice("which", which, NETWORKS)
    value_range = as_value_range(value_range)
    if positions is not None:
        as_choice("positions", positions, (*FIXED, *LEARNED))
    source = path
    path = hub_files(path) if str(path).startswith("hf://") else as_path("path", path)
    arrays, config = read_weights(path)
    sizes = {"image_size": image_size, "num_heads": num_heads}
    learned = "learned_antialiased"
    if any(isinstance(arrays.get(network), dict) for network in NETWORKS):
        arguments, values = encoder_from_official(arrays, which, path, **sizes)
    elif any(name.endswith(f"{PATCHES}.weight") for name in arrays):
        learned = "learned"
        arguments, values = encoder_from_transformers(arrays, config, path, **sizes)
    else:
        arguments, values = encoder_from_timm(arrays, config, path, **sizes)
    print_licence(f"{source} {config.get('_name_or_path', '')}".strip())
    settings = {"value_range": value_range, "dtype": dtype}
    return encoder_from_values(
        arguments, values, positions, learned=learned, **settings
    )


def encoder_from_values(
    arguments, values, positions=None, learned="learned_antialiased", **settings
):
    """Make an encoder of what a converter has read.

    Args:
        arguments: Dictionary of arguments, without `positions`.
        values: Dictionary from paths to arrays, with the table of positions.
        positions: Optional string, what the user asks for.
        learned: String, the kind of a table that holds no fixed positions.
        **settings: Further arguments of `ViTEncoder`.

    Returns:
        A `ViTEncoder`.
    """
    patch_size = arguments["patch_size"]
    grid_size = tuple(side // patch_size for side in arguments["image_size"])
    table = values["position_embedding/table"]
    kind = kind_of_positions(table, grid_size, positions, learned)
    if kind in FIXED:
        values = {**values}
        del values["position_embedding/table"]
    encoder = ViTEncoder(**arguments, positions=kind, **settings)
    assign_values(encoder, values)
    return encoder
