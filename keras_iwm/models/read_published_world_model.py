"""World models that others have published."""

from typing import Any

from keras_iwm.arguments import as_path, as_value_range
from keras_iwm.backbones.converters.assign_values import assign_values
from keras_iwm.backbones.converters.from_official import (
    NETWORKS,
    encoder_from_official,
    predictor_from_official,
)
from keras_iwm.backbones.converters.published_licence import print_licence
from keras_iwm.backbones.read_published import encoder_from_values
from keras_iwm.models.image_world_model import ImageWorldModel
from keras_iwm.models.preset_arguments import IJEPA_ARGUMENTS, with_ijepa_views
from keras_iwm.saving.read_weights import read_weights
from keras_iwm.type_aliases import DType, Path, Size, ValueRange


def read_published_world_model(
    path: Path,
    image_size: Size | None = None,
    num_heads: int | None = None,
    value_range: ValueRange = (0, 255),
    dtype: DType | None = None,
    **model_arguments: Any,
) -> ImageWorldModel:
    """Make an I-JEPA of a file of its own code, to pretrain it further.

    Encoder, target encoder and predictor have the published weights. Views and masks
    are those of the `ijepa_` presets. The optimizer starts anew.

    Args:
        path: Path of a `.pth.tar` as I-JEPA's code writes it, which Torch must be
            installed for.
        image_size: See `read_published`.
        num_heads: See `read_published`; the predictor has as many heads.
        value_range: Pair of numbers, the range of pixel values of your images.
        dtype: Optional dtype or policy of Keras.
        **model_arguments: Of `ImageWorldModel.from_encoder`: `seed`, `ema_momentum`,
            `num_classes`, `crop`, `name`.

    Returns:
        An `ImageWorldModel`.

    Raises:
        ValueError: If the file is missing, damaged or unsafe, or holds a weight too
            many, too few, of another shape or not finite: all of them are listed.
        ImportError: If Torch is not installed.

    Example:

    ```python
    import os

    path = "IN1K-vit.h.14-300e.pth.tar"
    if os.path.exists(path):
        model = keras_iwm.models.read_published_world_model(path)
    ```
    """
    path = as_path("path", path)
    value_range = as_value_range(value_range)
    arrays, _ = read_weights(path)
    sizes = {"image_size": image_size, "num_heads": num_heads}
    read = {
        which: encoder_from_official(arrays, which, path, **sizes) for which in NETWORKS
    }
    predictor, predictor_values = predictor_from_official(
        arrays, read["encoder"][0], path
    )
    licence = print_licence(str(path))
    encoder, target_encoder = (
        encoder_from_values(
            *read[which],
            predictor["positions"],
            value_range=value_range,
            dtype=dtype,
            licence=licence,
            name="encoder",
            initializer_stddev=0.02,
        )
        for which in ("encoder", "target_encoder")
    )
    model = ImageWorldModel.from_encoder(
        encoder,
        **IJEPA_ARGUMENTS,
        predictor_layers=predictor["num_layers"],
        predictor_dim=predictor["predictor_dim"],
        predictor_heads=predictor["num_heads"],
        **{
            "latent_loss": "smooth_l1",
            **with_ijepa_views(encoder, model_arguments),
        },
    )
    model.target_encoder.set_weights(target_encoder.get_weights())
    assign_values(model.predictor, predictor_values)
    return model
