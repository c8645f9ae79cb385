"""Encoders of presets with weights, and of files that others have published."""

from keras_iwm.backbones.presets import check_no_changes, is_size, preset_path
from keras_iwm.backbones.read_published import read_published
from keras_iwm.saving.preset_folder import is_preset, load_preset


def pretrained_encoder(expected, preset, load_weights, arguments):
    """Load the encoder of a preset.

    Args:
        expected: Class, `ViTEncoder` or one that inherits from it.
        preset: Name, path, or handle, see `ViTEncoder.from_preset`.
        load_weights: Boolean.
        arguments: Dictionary, for what others have published.

    Returns:
        A `ViTEncoder`.
    """
    path = preset_path(preset)
    if not is_preset(path) and not is_size(preset):
        if not load_weights:
            raise ValueError(
                "`load_weights` must be True for weights that others have published. "
                f"Received: load_weights=False, preset={str(preset)!r}. For a random "
                "start make a `ViTEncoder` of that size."
            )
        # By its handle, which may tell its licence.
        return _expect(expected, read_published(preset, **arguments), preset)
    check_no_changes(preset, load_weights, arguments)
    model = load_preset(path, load_weights)
    encoder = getattr(model, "feature_encoder", model)
    _expect(expected, encoder, preset)
    if encoder is model:
        return model
    # The teacher of a world model is frozen, and named so.
    config = {**encoder.get_config(), "name": "encoder", "trainable": True}
    learning = type(encoder).from_config(config)
    learning.set_weights(encoder.get_weights())
    return learning


def _expect(expected, encoder, preset):
    """Return an encoder if it is of the class that was asked for."""
    if not isinstance(encoder, expected):
        raise ValueError(
            f"`preset` must hold a {expected.__name__}, or a pretraining model around "
            f"one. Received: {str(preset)!r}, which holds a {type(encoder).__name__}."
        )
    return encoder
