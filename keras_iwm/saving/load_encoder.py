"""The encoder alone, out of the file of a whole run."""

import json
import pathlib
import tempfile
import zipfile

import h5py
import keras

from keras_iwm.saving.check_file import CONFIG, WEIGHTS, check_file
from keras_iwm.saving.file_window import archive_member
from keras_iwm.type_aliases import AnyModel, Path


def load_encoder(path: Path) -> AnyModel:
    """Load the encoder that a pretrained model gives away, and nothing else of it.

    The file of a run holds two encoders, a predictor and the optimizer's moments: eight
    times the numbers. Here only those of the feature encoder (the teacher, where there
    is one) are read, after `check_file` has looked at all of the file. Beside the
    encoder one weight at a time is held; a temporary file holds the encoder's part.

    Args:
        path: Path of the `.keras` file of an `ImageWorldModel`, of another model
            with an `encoder`, or of an encoder alone. What `RunCheckpoint` writes is
            such a file too.

    Returns:
        The encoder, such as a `ViTEncoder`, not compiled.

    Raises:
        ValueError: If the file is refused, see `check_file`, holds no encoder, or its
            weights are not exactly those of the encoder that it describes: missing
            ones, unexpected ones and those of another shape are listed.

    Example:

    ```python
    import os, tempfile

    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    model.save(path)
    encoder = keras_iwm.saving.load_encoder(path)
    ```
    """
    check_file(path)
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(
            "`path` must be a .keras file, which describes its model. Received: "
            f"{str(path)!r}."
        )
    try:
        return _load(path)
    except ValueError as refusal:
        raise ValueError(f"{path} is refused: {refusal}") from None
    except Exception as error:  # A stranger's file may raise any.
        raise ValueError(f"{path} cannot be loaded: {error}") from error


def _load(path):
    """Make the encoder of a checked file, and give it its weights."""
    with (
        open(path, "rb") as file,
        zipfile.ZipFile(file) as archive,
        h5py.File(archive_member(file, archive, WEIGHTS), "r") as weights,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = json.loads(archive.read(CONFIG))
        # Keras writes a part under the first name in the alphabet that hands it out.
        has_teacher = "feature_encoder" in weights
        encoder, is_part = _make_encoder(config, has_teacher)
        if is_part:
            places = ("feature_encoder", "causal_encoder/encoder", "encoder")
            weights = weights[next(place for place in places if place in weights)]
        with _own_weights(encoder, folder) as own:
            _check_same(_shapes(own), _shapes(weights))
        part = pathlib.Path(folder, "encoder.weights.h5")
        with h5py.File(part, "w") as copy:
            for name in weights:
                weights.copy(name, copy)
        encoder.load_weights(part)
    return encoder


def _make_encoder(config, has_teacher):
    """Make the encoder that a config describes; whether it is a part of a model."""
    described = config["config"].get("encoder")
    if described is not None and has_teacher:
        described = _teacher(described, config["config"].get("part_changes", {}))
    encoder = keras.saving.deserialize_keras_object(described or config)
    if not all(hasattr(encoder, name) for name in ("hidden_dim", "num_patches")):
        raise ValueError(
            f"it holds a {config['class_name']} without an encoder of its own. Load it "
            "with keras_iwm.saving.load_model, and take the encoder from there."
        )
    return encoder, described is not None


def _teacher(described, changes):
    """The config of the teacher of an encoder, as `TeacherStudentModel` makes it."""
    config = dict(described["config"])
    config["name"] = f"target_{config['name']}"
    policy = keras.dtype_policies.get(config["dtype"])
    if policy.variable_dtype in ("bfloat16", "float16"):
        config["dtype"] = f"mixed_{policy.variable_dtype}"
    prefix = f"{config['name']}/"
    config["part_changes"] = {
        path.removeprefix(prefix): change
        for path, change in changes.items()
        if path.startswith(prefix)
    }
    return {**described, "config": config}


def _own_weights(encoder, folder):
    """What Keras writes of an encoder, as an open file."""
    path = pathlib.Path(folder, "own.weights.h5")
    encoder.save_weights(path)
    return h5py.File(path, "r")


def _shapes(group):
    """The shape of each array in a group, by its path."""
    shapes = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    group.visititems(note)
    return shapes


def _check_same(expected, found):
    """Say which weights are missing, unexpected and of another shape."""
    differences = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found[name]} instead of {expected[name]}"
            for name in sorted(expected.keys() & found.keys())
            if found[name] != expected[name]
        ],
    }
    lines = [f"{kind}: {', '.join(n)}" for kind, n in differences.items() if n]
    if lines:
        raise ValueError(
            "its weights are not those of the encoder that it describes. "
            f"{'; '.join(lines)}."
        )
