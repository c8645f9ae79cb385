"""Presets by name: sizes, and those that come with weights."""

import pathlib

from keras_iwm.arguments import as_path
from keras_iwm.saving.hub_files import hub_files

# Folders of weights that travel with the package, named after their size.
TRAINED = pathlib.Path(__file__).parent / "trained"

ENCODER = ("num_layers", "hidden_dim", "num_heads", "mlp_dim")


def _size(image_size, patch_size, encoder, predictor):
    """Write down one size; encoder and predictor are (layers, width, heads).

    An encoder's MLP that is not four times as wide as it stands behind.
    """
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "encoder": dict(zip(ENCODER[: len(encoder)], encoder, strict=True)),
        "predictor": dict(
            zip(("num_layers", "predictor_dim", "num_heads"), predictor, strict=True)
        ),
    }


def _video_size(num_frames, *size):
    """Write down the size of a `VideoWorldModel`, of patches of two frames."""
    return {"num_frames": num_frames, "tubelet_size": 2, **_size(*size)}


def _autoregressive(size, num_layers, hidden_dim):
    """Write down the size of an encoder with a head, (layers, width)."""
    size = {name: size[name] for name in ("image_size", "patch_size", "encoder")}
    return {**size, "head": {"num_layers": num_layers, "hidden_dim": hidden_dim}}


def _contrastive_size(image_size, patch_size, encoder, projector_dims, **arguments):
    """Write down the size of a `ContrastiveModel`.

    Its predictor is as wide as the projector's last two layers.
    """
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "encoder": dict(zip(ENCODER[:3], encoder, strict=True)),
        "projector_dims": projector_dims,
        "predictor_dims": projector_dims[-2:],
        **arguments,
    }


def _dynamics_size(image_size, patch_size, encoder, predictor, **arguments):
    """Write down the size of a `LatentDynamicsModel`."""
    return {**_size(image_size, patch_size, encoder, predictor), **arguments}


_TINY_32 = _size(32, 8, (3, 96, 3), (4, 96, 3))
_TINY_64 = _size(64, 8, (6, 192, 3), (6, 128, 4))
_TINY_96 = _size(96, 16, (12, 192, 3), (6, 96, 3))
_BASE_224 = _size(224, 16, (12, 768, 12), (12, 384, 12))

PRESETS = {
    "iwm_tiny_32": _TINY_32,
    "iwm_tiny_64": _TINY_64,
    "iwm_tiny_96": _TINY_96,
    "iwm_small_224": _size(224, 16, (12, 384, 6), (12, 192, 6)),
    # Named by section 4 of arXiv 2403.00504: the deeper predictor keeps what the action
    # changes.
    "iwm_base_224_invariant": _BASE_224,
    "iwm_base_224_equivariant": _size(224, 16, (12, 768, 12), (18, 384, 12)),
    "iwm_large_224_equivariant": _size(224, 16, (24, 1024, 16), (36, 512, 16)),
    "ijepa_tiny_32": _TINY_32,
    "ijepa_tiny_64": _TINY_64,
    "ijepa_tiny_96": _TINY_96,
    "ijepa_small_224": _size(224, 16, (12, 384, 6), (6, 192, 6)),
    # Appendix A of arXiv 2301.08243: width 384, as many heads as the encoder.
    "ijepa_base_224": _size(224, 16, (12, 768, 12), (6, 384, 12)),
    "ijepa_large_224": _size(224, 16, (24, 1024, 16), (12, 384, 16)),
    "ijepa_huge_224": _size(224, 14, (32, 1280, 16), (12, 384, 16)),
    "ijepa_huge_448": _size(448, 16, (32, 1280, 16), (12, 384, 16)),
    "ijepa_giant_224": _size(224, 16, (40, 1408, 16, 6144), (12, 384, 16)),
    # As deep and wide as `iwm_tiny_64`, on four times the patches.
    "vjepa_tiny_64": _video_size(8, 64, 8, (6, 192, 3), (6, 128, 4)),
    # Section 3 of arXiv 2404.08471; predictors have as many heads as the encoder.
    "vjepa_large_224": _video_size(16, 224, 16, (24, 1024, 16), (12, 384, 16)),
    "autoregressive_tiny_32": _autoregressive(_TINY_32, 4, 96),
    "autoregressive_tiny_96": _autoregressive(_TINY_96, 6, 192),
    # Depth of arXiv 2401.08541, and the narrowest of its heads.
    "autoregressive_base_224": _autoregressive(_BASE_224, 12, 512),
    "dynamics_tiny_64": _dynamics_size(
        *(64, 8, (6, 192, 3), (4, 192, 3)),
        slots=("pan_rows", "pan_columns", "log_zoom", "turn"),
        num_frames=8,
        learning="teacher",
    ),
    # Section 3 of arXiv 2506.09985: its predictor, clips, actions and states (pose and
    # gripper), on the smallest of its encoders.
    "dynamics_large_256": _dynamics_size(
        *(256, 16, (24, 1024, 16), (24, 1024, 16)),
        slots=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        state_dim=7,
        num_frames=8,
        learning="frozen",
    ),
    "mae_tiny_32": _TINY_32,
    "mae_tiny_96": _size(96, 16, (12, 192, 3), (4, 128, 4)),
    # Section 4 of arXiv 2111.06377: the same decoder for encoders of all sizes.
    "mae_base_224": _size(224, 16, (12, 768, 12), (8, 512, 16)),
    # Widths at 224 pixels are those of arXiv 2104.02057 and 2006.07733.
    **{
        f"{method}_{name}": _contrastive_size(*size, dims[skipped:], **arguments)
        for name, size, dims in (
            ("tiny_32", (32, 8, (3, 96, 3)), (512, 512, 128)),
            ("tiny_96", (96, 16, (12, 192, 3)), (1024, 1024, 256)),
            ("base_224", (224, 16, (12, 768, 12)), (4096, 4096, 256)),
        )
        for method, skipped, arguments in (
            ("moco", 0, {}),
            ("byol", 1, {"negatives": False, "ema_momentum": 0.996}),
        )
    },
}
"""Named sizes, as `from_preset` takes them: arguments of encoder and other parts."""


def is_size(preset):
    """Whether `preset` is the name of a size."""
    return isinstance(preset, str) and preset in PRESETS


def is_size_of_clips(preset):
    """Whether a named size is that of an encoder of clips."""
    return "tubelet_size" in PRESETS[preset]


def preset_path(preset):
    """Where a preset with weights lies on this machine.

    Args:
        preset: Name of a preset that comes with weights, path of a folder or file, or
            `"hf://organisation/model"`, which is downloaded once.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If there is none.
    """
    if is_size(preset) and (TRAINED / preset).is_dir():
        return TRAINED / preset
    if is_size(preset):
        raise ValueError(
            f"`preset` {str(preset)!r} is a size without weights. For a random start "
            f"pass load_weights=False. With weights there are: {trained_presets()}, "
            "and folders written by `save_to_preset`."
        )
    path = as_path("preset", preset)
    if str(preset).startswith("hf://"):
        return hub_files(preset)
    if path.exists():
        return path
    raise ValueError(
        "`preset` must be a name, a folder or file that is there, or "
        f"'hf://organisation/model'. Received: {str(preset)!r}. Names: "
        f"{tuple(PRESETS)}; with weights: {trained_presets()}."
    )


def check_no_changes(preset, load_weights, arguments):
    """Refuse to change what a folder, or trained weights, say."""
    if arguments:
        raise ValueError(
            f"{', '.join(arguments)} can be changed on a named size with "
            f"load_weights=False only. Received: preset={str(preset)!r}, "
            f"load_weights={load_weights}. For another world model around a pretrained "
            "encoder use `ImageWorldModel.from_encoder`."
        )


def encoder_arguments(preset, takes_clips):
    """The arguments of the encoder of a named size, of images or of clips."""
    size = PRESETS[preset]
    if is_size_of_clips(preset) != takes_clips:
        names = tuple(n for n in PRESETS if is_size_of_clips(n) == takes_clips)
        raise ValueError(
            f"`preset` must be a size of an encoder of "
            f"{'clips' if takes_clips else 'images'}: {names}. Received: {preset!r}. "
            f"Ask {'ViTEncoder' if takes_clips else 'VideoEncoder'} for it."
        )
    positions = {"ijepa": "columns_first", "mae": "columns_first"}
    positions["vjepa"] = "uniform_power"
    is_jepa = preset.startswith(("ijepa_", "vjepa_"))
    names = ("num_frames", "tubelet_size") if takes_clips else ()
    return {
        **{name: size[name] for name in ("image_size", "patch_size", *names)},
        **size["encoder"],
        "initializer_stddev": 0.02 if is_jepa else None,
        "positions": positions.get(preset.split("_")[0], "rows_first"),
        "name": "encoder",
    }


def trained_presets():
    """Names of the presets that come with weights."""
    return tuple(sorted(folder.name for folder in TRAINED.glob("*")))
