"""Licences of published weights that are known by name."""

import functools
import re

NOT_COMMERCIAL = "not for commercial use"
LICENCES = {
    # The Hub's models, by handle or folder, and the names of I-JEPA's own files, and of
    # V-JEPA's.
    r"facebook(/|--)ijepa_|IN(1|22)K-vit\.[hg]\.1": ("CC-BY-NC 4.0", NOT_COMMERCIAL),
    r"vit[lh]16(-384)?\.pth": ("CC-BY-NC 4.0", NOT_COMMERCIAL),
    r"dinov3-vit\w+-pretrain-|vit_\w+_dinov3(_qkvb)?\.(lvd|sat)": (
        "the DINOv3 License",
        "read its terms before you use or share them",
    ),
    r"vit_\w+_dinov3_qkvb\.eupe": (
        "the FAIR Noncommercial Research License",
        NOT_COMMERCIAL,
    ),
}


def print_licence(name):
    """Print the licence of published weights, once, if it is known.

    Args:
        name: String: the handle or the path that was asked for, or the name that a
            config gives itself.

    Returns:
        String, the licence, or `None`.
    """
    for pattern, (licence, terms) in LICENCES.items():
        match = re.search(rf"[^/]*({pattern})[^/]*", name)
        if match:
            _print_once(match[0], licence, terms)
            return licence
    return None


@functools.cache
def _print_once(name, licence, terms):
    """Print one line."""
    print(
        f"The weights of {name} are under {licence}: {terms}. keras_iwm ships none of "
        "them."
    )
