"""From the name of a size to the arguments of a method's `from_encoder`."""

import inspect

from keras_iwm.actions.action_space import ActionSpace
from keras_iwm.backbones.presets import PRESETS, is_size_of_clips
from keras_iwm.backbones.video_encoder import VideoEncoder
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.random_resized_crop import RandomResizedCrop

OF_ENCODER = {*inspect.signature(ViTEncoder).parameters, "dtype"} - {"kwargs"}
OF_CLIPS = {"num_frames", "tubelet_size"}

# What makes a world model an I-JEPA (arXiv 2301.08243).
IJEPA_ARGUMENTS = {"actions": (), "conditioning": "none"}


def with_ijepa_views(encoder, arguments):
    """Add the crop and the mask of I-JEPA (arXiv 2301.08243) where there are none."""
    if "crop" not in arguments:
        crop = RandomResizedCrop(encoder.image_size, flip_probability=0.0)
        arguments = {**arguments, "crop": crop}
    if "mask" not in arguments:
        mask = MultiBlockMask(encoder.grid_size, separate_blocks=True)
        arguments = {**arguments, "mask": mask}
    return arguments


def with_predictor_sizes(arguments):
    """Put the sizes of a named size's predictor as `from_encoder` takes them."""
    predictor = arguments.pop("predictor")
    return {
        "predictor_layers": predictor["num_layers"],
        "predictor_dim": predictor["predictor_dim"],
        "predictor_heads": predictor["num_heads"],
        **arguments,
    }


def preset_arguments(preset, arguments):
    """Return the arguments of `from_encoder` for a named size of any method.

    Args:
        preset: Name of a size.
        arguments: Dictionary of what is changed: arguments of the encoder make it,
            others are for `from_encoder`. `None` leaves an argument to its
            default, but a crop out.

    Returns:
        Dictionary with `"encoder"`, the size's parts, and the other arguments.
    """
    arguments = {
        name: value
        for name, value in arguments.items()
        if value is not None or name == "crop"
    }
    is_video = is_size_of_clips(preset)
    names = OF_ENCODER | OF_CLIPS if is_video else OF_ENCODER
    of_encoder = {n: arguments.pop(n) for n in list(arguments) if n in names}
    encoder_class = VideoEncoder if is_video else ViTEncoder
    encoder = encoder_class.from_preset(preset, load_weights=False, **of_encoder)
    parts = {n: v for n, v in PRESETS[preset].items() if n not in (*names, "encoder")}
    return {"encoder": encoder, **parts, **arguments}


def accepted_arguments(method):
    """Return the names of what `method.from_preset` lets change on a named size.

    Args:
        method: Subclass of `PretrainingModel`.
    """
    of_method = {
        name
        for call in (method.from_encoder, method)
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    of_method -= {"encoder", "predictor", "view_generator"}  # made of the others
    return OF_ENCODER | of_method | set(method.view_arguments)


def world_model_arguments(preset, arguments):
    """Return the arguments of `WorldModel.from_encoder` for a named size.

    Args and errors are those of `ImageWorldModel.from_preset`.
    """
    arguments = with_predictor_sizes(preset_arguments(preset, arguments))
    encoder = arguments["encoder"]
    jitter = {
        name: arguments.pop(name)
        for name in ("jitter_strength", "jitter_probability")
        if name in arguments
    }
    if preset.startswith("ijepa_"):
        arguments = {**IJEPA_ARGUMENTS, **arguments}
        refused = jitter | {
            name: arguments[name]
            for name, value in IJEPA_ARGUMENTS.items()
            if arguments[name] != value
        }
        if refused:
            raise ValueError(
                f"Preset {preset!r} is I-JEPA: it has no action. Received: {refused}. "
                "Choose an 'iwm_' preset, or make the model with `from_encoder`."
            )
        arguments = with_ijepa_views(encoder, arguments)
    elif "actions" not in arguments:
        arguments["actions"] = ActionSpace.default(
            encoder.image_size, encoder.num_channels, **jitter
        )
    elif jitter:
        raise ValueError(
            f"{', '.join(jitter)} belong to the default operations. Received: "
            f"{jitter} beside `actions`. Give your own operations their strength."
        )
    return arguments
