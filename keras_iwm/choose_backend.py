"""Which backend Keras will use, looked at before Keras is imported.

Keras imports its backend at once, by default TensorFlow, and ends in "No module named
tensorflow" where that is not there. Here nothing is imported to find out.
"""

import importlib.util
import json
import os
import pathlib
import sys

_BACKENDS = ("jax", "tensorflow", "torch")


def choose_backend():
    """Let Keras use a backend that is installed, or say how to get one.

    What KERAS_BACKEND or Keras's own `keras.json` says is left alone if it is
    installed. If neither says anything, and TensorFlow is missing, the first of JAX
    and Torch that is there is taken, with a line that says so. Where Keras is imported
    already, it has chosen.

    Raises:
        ImportError: If no backend is installed, or not the one that was asked for.
    """
    if "keras" in sys.modules:
        return
    wanted, origin = _wanted()
    installed = [name for name in _BACKENDS if _is_installed(name)]
    if wanted not in _BACKENDS or wanted in installed:
        return
    if not installed:
        raise ImportError(
            "keras_iwm needs a backend, and none of JAX, TensorFlow and Torch is "
            "installed. `pip install jax`, say, and set KERAS_BACKEND=jax."
        )
    choices = " or ".join(f"KERAS_BACKEND={name}" for name in installed)
    if origin is not None:
        raise ImportError(
            f"{origin} asks for the backend {wanted}, which is not installed. Set "
            f"{choices}, or `pip install {wanted}`."
        )
    os.environ["KERAS_BACKEND"] = installed[0]
    print(
        f"keras_iwm: TensorFlow, Keras's default backend, is not installed: using "
        f"{installed[0]}. Set {choices} to choose.",
        file=sys.stderr,
    )


def _is_installed(name):
    """Whether a package is there; a folder of that name alone is none."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _wanted():
    """The backend Keras will import, and what asks for it; `None` if nothing does."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "KERAS_BACKEND"
    home = os.environ.get("KERAS_HOME") or pathlib.Path("~/.keras").expanduser()
    path = pathlib.Path(home, "keras.json")
    try:
        name = json.loads(path.read_text())["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        name = "tensorflow"
    # Keras writes the file with its default: that TensorFlow stands there is no wish.
    return name, None if name == "tensorflow" else str(path)
