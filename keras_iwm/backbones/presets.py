"""Named sizes."""

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


_TINY_32 = _size(32, 8, (3, 96, 3), (4, 96, 3))
_TINY_64 = _size(64, 8, (6, 192, 3), (6, 128, 4))
_TINY_96 = _size(96, 16, (12, 192, 3), (6, 96, 3))

PRESETS = {
    "iwm_tiny_32": _TINY_32,
    "iwm_tiny_64": _TINY_64,
    "iwm_tiny_96": _TINY_96,
    "iwm_small_224": _size(224, 16, (12, 384, 6), (12, 192, 6)),
    # Named by section 4 of arXiv 2403.00504: the deeper predictor keeps what the action
    # changes.
    "iwm_base_224_invariant": _size(224, 16, (12, 768, 12), (12, 384, 12)),
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
}
