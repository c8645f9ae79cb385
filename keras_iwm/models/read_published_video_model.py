"""World models of clips that others have published."""

from typing import Any

from keras_iwm.arguments import as_count, as_optional, as_path, as_size, as_value_range
from keras_iwm.backbones.converters.assign_values import assign_values
from keras_iwm.backbones.converters.from_official import NETWORKS
from keras_iwm.backbones.converters.published_licence import print_licence
from keras_iwm.backbones.converters.video_predictor import video_predictor
from keras_iwm.backbones.read_published import (
    encoder_from_values,
    is_video,
    video_encoder_from,
)
from keras_iwm.models.video_world_model import VideoWorldModel
from keras_iwm.saving.hub_files import hub_files
from keras_iwm.saving.read_weights import read_weights
from keras_iwm.type_aliases import DType, Path, Size, ValueRange


def read_published_video_model(
    path: Path,
    image_size: Size | None = None,
    num_heads: int | None = None,
    value_range: ValueRange = (0, 255),
    dtype: DType | None = None,
    num_frames: int | None = None,
    **model_arguments: Any,
) -> VideoWorldModel:
    """Make a V-JEPA or a V-JEPA 2 of published weights, to pretrain it further.

    Encoder, target encoder and predictor have the published weights; transformers keeps
    one encoder, which is both then. Masks are V-JEPA's, with the first mask tokens of
    the predictor; V-JEPA 2 has ten. The optimizer starts anew.

    Args:
        path: Path of a `.pth.tar` or `.pt` as V-JEPA's and V-JEPA 2's code write it,
            which Torch must be installed for; of a folder or `.safetensors` of
            `VJEPA2Model` of transformers; or `"hf://organisation/model"`.
        image_size: See `read_published`. Of V-JEPA 2 any size will do.
        num_heads: See `read_published`.
        value_range: Pair of numbers, the range of pixel values of your clips.
        dtype: Optional dtype or policy of Keras.
        num_frames: Optional integer, frames of your clips, see `read_published`.
        **model_arguments: Of `VideoWorldModel.from_encoder`: `masks`, `crop`, `seed`,
            `ema_momentum`, `num_classes`, `name`.

    Returns:
        A `VideoWorldModel`.

    Raises:
        ValueError: If the file is missing, damaged or unsafe, or holds a weight too
            many, too few, of another shape or not finite: all of them are listed.
        ImportError: If the package is missing that reads or downloads it.

    Example:

    ```python
    import os

    path = "vitl16.pth.tar"
    if os.path.exists(path):
        model = keras_iwm.models.read_published_video_model(path)
    ```
    """
    value_range = as_value_range(value_range)
    as_optional(as_size, "image_size", image_size)
    as_optional(as_count, "num_frames", num_frames)
    as_optional(as_count, "num_heads", num_heads)
    source = path
    path = hub_files(path) if str(path).startswith("hf://") else as_path("path", path)
    arrays, config = read_weights(path)
    sizes = {"image_size": image_size, "num_heads": num_heads, "num_frames": num_frames}
    if not is_video(arrays, "encoder"):
        raise ValueError(
            "`path` must hold a V-JEPA or a V-JEPA 2, whose patches are of several "
            f"frames. Received: {str(source)!r}. I-JEPA is for "
            "`read_published_world_model`."
        )
    licence = print_licence(f"{source} {config.get('_name_or_path', '')}".strip())
    encoder, target_encoder = (
        encoder_from_values(
            *video_encoder_from(arrays, config, which, path, None, **sizes),
            learned="learned",
            value_range=value_range,
            dtype=dtype,
            licence=licence,
            name="encoder",
        )
        for which in sorted(NETWORKS)
    )
    arguments, values = video_predictor(arrays, config, encoder, path)
    model = VideoWorldModel.from_encoder(
        encoder,
        predictor_layers=arguments["num_layers"],
        predictor_dim=arguments["predictor_dim"],
        predictor_heads=arguments["num_heads"],
        **model_arguments,
    )
    model.target_encoder.set_weights(target_encoder.get_weights())
    count, known = model.predictor.num_mask_tokens, arguments["num_mask_tokens"]
    if count > known:
        raise ValueError(
            f"`masks` must be at most {known}, one for each mask token of the weights. "
            f"Received: {count} masks."
        )
    tokens = values["mask_token"].reshape(known, -1)[:count]
    values["mask_token"] = tokens.reshape(model.predictor.mask_token.shape)
    assign_values(model.predictor, values)
    return model
