"""Licences of published weights that are known by name."""

import functools
import re

LICENCES = {
    # The Hub's models, by handle or folder, and the names of I-JEPA's own files, and of
    # V-JEPA's.
    r"facebook(/|--)ijepa_|IN(1|22)K-vit\.[hg]\.1": "CC-BY-NC 4.0",
    r"vit[lh]16(-384)?\.pth": "CC-BY-NC 4.0",
}


def print_licence(name):
    """Print the licence of published weights, once, if it is known.

    Args:
        name: String: the handle or the path that was asked for, or the name that a
            config gives itself.
    """
    for pattern, licence in LICENCES.items():
        match = re.search(rf"[^/]*({pattern})[^/]*", name)
        if match:
            _print_once(match[0], licence)


@functools.cache
def _print_once(name, licence):
    """Print one line."""
    print(
        f"The weights of {name} are under {licence}: not for commercial use. "
        "keras_iwm ships none of them."
    )
