"""Encoders that others have published."""

from typing import Literal, get_args

from keras_iwm.arguments import (
    as_choice,
    as_count,
    as_optional,
    as_path,
    as_size,
    as_value_range,
)
from keras_iwm.backbones.converters.assign_values import assign_values
from keras_iwm.backbones.converters.from_official import (
    NETWORKS,
    encoder_from_official,
)
from keras_iwm.backbones.converters.from_official_video import (
    is_official_video,
    video_encoder_from_official,
)
from keras_iwm.backbones.converters.from_timm import encoder_from_timm
from keras_iwm.backbones.converters.from_transformers import (
    encoder_from_transformers,
    is_transformers,
    learned_positions,
)
from keras_iwm.backbones.converters.from_transformers_video import (
    is_transformers_video,
    video_encoder_from_transformers,
)
from keras_iwm.backbones.converters.network_sizes import kind_of_positions
from keras_iwm.backbones.converters.published_licence import print_licence
from keras_iwm.backbones.video_encoder import VideoEncoder
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.layers.position_embedding import FIXED, Positions
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
    positions: Positions | None = None,
    num_frames: int | None = None,
) -> ViTEncoder:
    """Make an encoder with published weights.

    Its latents are those of the network that was published, see `docs/weights.md`. All
    of a file is looked at before anything is made of it, and nothing in it is run.
    Read are

    - files of I-JEPA's own code (`.pth.tar`), which Torch must be installed for;
    - `IJepaModel` of transformers, and its `ViTModel`, `ViTMAEModel`, `Dinov2Model`,
      `Dinov2WithRegistersModel` and `DINOv3ViTModel`, also inside a classifier, as a
      folder or `.safetensors` with its `config.json` beside it;
    - files of V-JEPA's and V-JEPA 2's own code (`.pth.tar`, `.pt`), and `VJEPA2Model`
      of transformers, also inside a classifier: encoders of clips;
    - vision transformers of timm with norms before the branches and a final norm:
      I-JEPA, MAE, DeiT, DINOv2 also with registers, as a folder, as `.safetensors`, or
      a state dictionary that Torch has saved; and DINOv3, as a folder.

    Args:
        path: Path of the file or folder, or `"hf://organisation/model"`, which is
            downloaded by huggingface_hub once.
        which: `"target_encoder"`, which the papers evaluate, or `"encoder"`: the
            network of an I-JEPA or V-JEPA file. Others hold one network, and ignore
            it; of I-JEPA it is `"encoder"`.
        image_size: Optional integer or pair (height, width) that the network was
            trained at, where neither config nor a square number of positions tells.
        num_heads: Optional integer, attention heads, where neither config nor the width
            of a published size tells.
        value_range: Pair of numbers, the range of pixel values of your images.
        dtype: Optional dtype or policy of Keras.
        positions: Optional string, see `ViTEncoder`. By default fixed ones, where the
            weights hold these, or else a learned table that is resampled as the source
            does. They differ at other image sizes than the network's: `"learned"` is
            exactly transformers there, `"learned_antialiased"` timm and transformers'
            DINOv2 with registers. Weights of DINOv3 have `"rotary_scaled"` and those of
            V-JEPA 2 `"rotary_tiled"` and no others; say so of an encoder's own file of
            V-JEPA 2 that has a table too, as V-JEPA's have.
        num_frames: Optional integer, of encoders of clips: frames of a clip, where no
            config tells. Defaults to 16, and to 64 for V-JEPA 2.

    Returns:
        A `ViTEncoder`, of clips a `VideoEncoder`.

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
        as_choice("positions", positions, get_args(Positions))
    as_optional(as_size, "image_size", image_size)
    as_optional(as_count, "num_frames", num_frames)
    as_optional(as_count, "num_heads", num_heads)
    source = path
    path = hub_files(path) if str(path).startswith("hf://") else as_path("path", path)
    arrays, config = read_weights(path)
    sizes = {"image_size": image_size, "num_heads": num_heads}
    learned = "learned_antialiased"
    if is_video(arrays, which):
        learned = "learned"
        sizes["num_frames"] = num_frames
        arguments, values = video_encoder_from(
            arrays, config, which, path, positions, **sizes
        )
    elif any(isinstance(arrays.get(network), dict) for network in NETWORKS):
        arguments, values = encoder_from_official(arrays, which, path, **sizes)
    elif is_transformers(arrays):
        learned = learned_positions(config)
        arguments, values = encoder_from_transformers(arrays, config, path, **sizes)
    else:
        arguments, values = encoder_from_timm(arrays, config, path, **sizes)
    licence = print_licence(f"{source} {config.get('_name_or_path', '')}".strip())
    settings = {"value_range": value_range, "dtype": dtype, "licence": licence}
    return encoder_from_values(
        arguments, values, positions, learned=learned, **settings
    )


def is_video(arrays, which):
    """Whether a file holds an encoder of clips."""
    return is_transformers_video(arrays) or is_official_video(arrays, which)


def video_encoder_from(arrays, config, which, path, positions, **sizes):
    """Read an encoder of clips by what its file is of, see the converters."""
    if is_transformers_video(arrays):
        return video_encoder_from_transformers(arrays, config, path, **sizes)
    return video_encoder_from_official(
        arrays, which, path, positions=positions, **sizes
    )


def encoder_from_values(
    arguments, values, positions=None, learned="learned_antialiased", **settings
):
    """Make an encoder of what a converter has read.

    Args:
        arguments: Dictionary of arguments, of clips if one is `num_frames`. They have
            `positions` unless the values have a table.
        values: Dictionary from paths to arrays.
        positions: Optional string, what the user asks for.
        learned: String, the kind of a table that holds no fixed positions.
        **settings: Further arguments of `ViTEncoder`.

    Returns:
        A `ViTEncoder`.
    """
    kind = arguments.get("positions")
    if kind is None:
        patch_size = arguments["patch_size"]
        grid_size = tuple(side // patch_size for side in arguments["image_size"])
        if "num_frames" in arguments:
            depth = arguments["num_frames"] // arguments["tubelet_size"]
            grid_size = (depth, *grid_size)
        table = values["position_embedding/table"]
        kind = kind_of_positions(table, grid_size, positions, learned)
        if kind in FIXED:
            values = {**values}
            del values["position_embedding/table"]
    elif positions not in (None, kind):
        raise ValueError(
            f"`positions` must be {kind!r} for these weights, or be left out. "
            f"Received: positions={positions!r}."
        )
    made = VideoEncoder if "num_frames" in arguments else ViTEncoder
    encoder = made(**{**arguments, "positions": kind, **settings})
    assign_values(encoder, values)
    return encoder
