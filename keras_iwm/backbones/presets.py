"""Named sizes of image world models."""

import warnings

from keras_iwm.actions.color_jitter import ColorJitter
from keras_iwm.backbones.vit_encoder import ViTEncoder
from keras_iwm.backbones.world_model_predictor import WorldModelPredictor
from keras_iwm.views.multi_block_mask import MultiBlockMask
from keras_iwm.views.view_generator import ViewGenerator


def _size(image_size, patch_size, encoder, predictor):
    """Write down one size; encoder and predictor are (layers, width, heads)."""
    names = ("num_layers", "hidden_dim", "num_heads")
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "encoder": dict(zip(names, encoder, strict=True)),
        "predictor": dict(
            zip(("num_layers", "predictor_dim", "num_heads"), predictor, strict=True)
        ),
    }


_SIZES = {
    "tiny_32": _size(32, 8, (3, 96, 3), (4, 96, 3)),
    "tiny_64": _size(64, 8, (6, 192, 3), (6, 128, 4)),
    "tiny_96": _size(96, 16, (12, 192, 3), (6, 96, 3)),
    "small_224": _size(224, 16, (12, 384, 6), (12, 192, 6)),
    "base_224": _size(224, 16, (12, 768, 12), (12, 384, 12)),
    "base_224_deep": _size(224, 16, (12, 768, 12), (18, 384, 12)),
    "large_224": _size(224, 16, (24, 1024, 16), (36, 512, 16)),
}

# The paper's names of section 4: the deeper predictor keeps what the action changes.
PRESETS = {
    "iwm_tiny_32": _SIZES["tiny_32"],
    "iwm_tiny_64": _SIZES["tiny_64"],
    "iwm_tiny_96": _SIZES["tiny_96"],
    "iwm_small_224": _SIZES["small_224"],
    "iwm_base_224_invariant": _SIZES["base_224"],
    "iwm_base_224_equivariant": _SIZES["base_224_deep"],
    "iwm_large_224_equivariant": _SIZES["large_224"],
    "ijepa_tiny_32": _SIZES["tiny_32"],
    "ijepa_tiny_64": _SIZES["tiny_64"],
    "ijepa_tiny_96": _SIZES["tiny_96"],
    "ijepa_small_224": _SIZES["small_224"],
    "ijepa_base_224": _SIZES["base_224"],
    "ijepa_large_224": _SIZES["large_224"],
}


def build_from_preset(
    model_class,
    preset,
    conditioning=None,
    jitter_strength=1.0,
    jitter_probability=0.8,
    image_size=None,
    patch_size=None,
    value_range=(0, 255),
    predictor_layers=None,
    drop_path_rate=0.0,
    remat=False,
    seed=None,
    dtype=None,
    **model_arguments,
):
    """Make an untrained model of `model_class` from a named preset.

    Args:
        model_class: `ImageWorldModel`.
        preset: String, a key of `PRESETS`. Names that begin with `ijepa_` have no
            transforms, conditioning `"none"` and separately predicted blocks.
        conditioning: Optional string, `"feature"` (the default), `"sequence"` or
            `"none"`; an I-JEPA preset knows no action and takes only `"none"`.
        jitter_strength: Positive float that multiplies the ranges of the colour
            jitter; 2 is the paper's strong jitter.
        jitter_probability: Float in [0, 1], how often a view is jittered.
        image_size: Optional integer or pair, in pixels.
        patch_size: Optional integer, in pixels.
        value_range: Pair of numbers, the range of the images' pixel values.
        predictor_layers: Optional integer, depth of the predictor: the dial from
            invariant (shallow) to equivariant (deep) features.
        drop_path_rate: Float in [0, 1), for encoder and predictor.
        remat: Boolean, gradient checkpointing in encoder and predictor.
        seed: Optional integer, seed of the views and masks.
        dtype: Optional dtype policy of encoder and predictor, such as
            `"mixed_bfloat16"`. Defaults to the global one.
        **model_arguments: `ema_momentum`, `num_classes`, `name`.

    Returns:
        The model.

    Raises:
        ValueError: If the preset is unknown or cannot be conditioned like that.
    """
    if preset not in PRESETS:
        raise ValueError(
            f"`preset` must be one of {tuple(PRESETS)}. Received: {preset!r}."
        )
    size = PRESETS[preset]
    is_ijepa = preset.startswith("ijepa_")
    conditioning = conditioning or ("none" if is_ijepa else "feature")
    if is_ijepa and conditioning != "none":
        raise ValueError(
            f"Preset {preset!r} has no transforms, hence no action to condition on. "
            f"Received: conditioning={conditioning!r}. Choose an 'iwm_' preset."
        )
    encoder = ViTEncoder(
        image_size or size["image_size"],
        patch_size or size["patch_size"],
        **size["encoder"],
        drop_path_rate=drop_path_rate,
        value_range=value_range,
        remat=remat,
        dtype=dtype,
        name="encoder",
    )
    transforms = {
        "shared": (
            ColorJitter(strength=jitter_strength, probability=jitter_probability),
        )
    }
    if is_ijepa:
        transforms = {"shared": (), "destructive": ()}
    with warnings.catch_warnings():
        if image_size is None and patch_size is None:
            warnings.simplefilter("ignore")  # the preset's own grid is meant
        mask = MultiBlockMask(encoder.grid_size, separate_blocks=is_ijepa)
    view_generator = ViewGenerator(
        encoder.image_size,
        mask,
        value_range=value_range,
        seed=seed,
        name="view_generator",
        **transforms,
    )
    depth = {} if predictor_layers is None else {"num_layers": predictor_layers}
    predictor = WorldModelPredictor(
        encoder.grid_size,
        encoder.hidden_dim,
        **(size["predictor"] | depth),
        action_dim=view_generator.action_dim,
        conditioning=conditioning,
        drop_path_rate=drop_path_rate,
        remat=remat,
        dtype=dtype,
        name="predictor",
    )
    return model_class(encoder, predictor, view_generator, **model_arguments)
