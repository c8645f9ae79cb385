"""From the name of a size to a world model's arguments."""

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.backbones.presets import PRESETS
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.views.random_resized_crop import RandomResizedCrop

# What makes a world model an I-JEPA (arXiv 2301.08243).
IJEPA_ARGUMENTS = {"actions": (), "conditioning": "none", "separate_blocks": True}


def preset_arguments(
    preset,
    image_size=None,
    patch_size=None,
    num_channels=3,
    mean=None,
    std=None,
    value_range=(0, 255),
    drop_path_rate=0.0,
    remat=False,
    dtype=None,
    jitter_strength=None,
    jitter_probability=None,
    **arguments,
):
    """Return the arguments of `ImageWorldModel.from_encoder` for a named size.

    Args and errors are those of `ImageWorldModel.from_preset`.
    """
    size = PRESETS[preset]
    # `None` leaves an argument to its default, but a crop out.
    arguments = {
        name: value
        for name, value in arguments.items()
        if value is not None or name == "crop"
    }
    changes = {"image_size": image_size, "patch_size": patch_size}
    encoder = ViTEncoder.from_preset(
        preset,
        load_weights=False,
        drop_path_rate=drop_path_rate,
        value_range=value_range,
        num_channels=num_channels,
        mean=mean,
        std=std,
        remat=remat,
        dtype=dtype,
        **{name: value for name, value in changes.items() if value is not None},
    )
    jitter = {
        "jitter_strength": jitter_strength,
        "jitter_probability": jitter_probability,
    }
    jitter = {name: value for name, value in jitter.items() if value is not None}
    if preset.startswith("ijepa_"):
        arguments = {**IJEPA_ARGUMENTS, **arguments}
        refused = jitter | {
            name: arguments[name]
            for name, value in IJEPA_ARGUMENTS.items()
            if arguments[name] != value
        }
        if refused:
            raise ValueError(
                f"Preset {preset!r} is I-JEPA: it has no action, and predicts "
                f"blocks apart. Received: {refused}. Choose an 'iwm_' preset, or "
                "make the model with `from_encoder`."
            )
        crop = RandomResizedCrop(encoder.image_size, flip_probability=0.0)
        arguments.setdefault("crop", crop)
    elif "actions" not in arguments:
        arguments["actions"] = ActionSpace.default(
            encoder.image_size, num_channels, **jitter
        )
    elif jitter:
        raise ValueError(
            f"{', '.join(jitter)} belong to the default operations. Received: "
            f"{jitter} beside `actions`. Give your own operations their strength."
        )
    predictor = size["predictor"]
    return {
        "encoder": encoder,
        "predictor_layers": predictor["num_layers"],
        "predictor_dim": predictor["predictor_dim"],
        "predictor_heads": predictor["num_heads"],
        **arguments,
    }
