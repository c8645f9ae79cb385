"""Presets: models as folders, in KerasHub's layout."""

import datetime
import hashlib
import json
import math
import pathlib

import h5py
import keras

from keras_iwm.arguments import as_choice, as_object, as_path
from keras_iwm.saving.check_config import check_config
from keras_iwm.saving.check_file import (
    CONFIG,
    LARGEST_CONFIG,
    METADATA,
    WEIGHTS,
    as_config,
)
from keras_iwm.saving.check_weights import check_weights
from keras_iwm.saving.weight_shapes import differences, weight_shapes
from keras_iwm.version import __version__
from keras_iwm.whole_file import whole_file

DTYPES = ("float32", "float16")


def save_preset(model, folder, facts=None, weights_dtype="float32"):
    """Write a model as a folder of `config.json`, `model.weights.h5`, `metadata.json`.

    The metadata is written last: a folder without it is not finished.

    Args:
        model: `keras.Model`, built and registered.
        folder: Path of the folder. What it holds of these files is replaced.
        facts: Optional dictionary that JSON can hold, what the metadata says beside
            the model's own facts.
        weights_dtype: String, `"float32"`, or `"float16"` for half the size.

    Raises:
        ValueError: If an argument cannot be meant.
    """
    folder = as_path("folder", folder)
    facts = {} if facts is None else facts
    as_object("facts", facts, ("items",), "a dictionary")
    weights_dtype = as_choice("weights_dtype", weights_dtype, DTYPES)
    try:
        json.dumps(facts)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`facts` must hold numbers, strings, lists and dictionaries. {error}"
        ) from None
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    # A copy has neither optimizer nor metrics, and shows that the config makes one.
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(model.get_weights())
    (folder / METADATA).unlink(missing_ok=True)
    with whole_file(folder / WEIGHTS) as path:
        # Keras knows the format by the name's end.
        full = path.with_name(f"unfinished.{WEIGHTS}")
        try:
            copy.save_weights(full)
            if weights_dtype == "float16":
                _halve(full, path)
            else:
                full.replace(path)
        finally:
            full.unlink(missing_ok=True)
    with whole_file(folder / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2) + "\n")
    layers = model._flatten_layers()
    licences = dict.fromkeys(getattr(layer, "licence", None) for layer in layers)
    licence = "; ".join(name for name in licences if name)
    metadata = {
        **facts,  # first: what the model itself says is not for them to change
        **({"licence": licence} if licence else {}),
        "keras_version": keras.__version__,
        "keras_iwm_version": __version__,
        "parameter_count": model.count_params(),
        "date_saved": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "weights_sha256": _checksum(folder / WEIGHTS),
    }
    with whole_file(folder / METADATA) as path:
        path.write_text(json.dumps(metadata, indent=2) + "\n")


def load_preset(folder, load_weights=True):
    """Make a model from a folder that may come from anyone.

    The folder is looked at as `check_file` looks at a file: nothing in it is run. Its
    weights must be exactly those of the model that its config describes.

    Args:
        folder: Path of the folder.
        load_weights: Boolean. If `False`, the model starts at random.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the folder is refused. The message names it, and why.
    """
    folder = pathlib.Path(folder)
    try:
        config = _read_json(folder / CONFIG)
        if not load_weights:
            check_config(config, float("inf"))
            return _make(config)
        shapes = _checked_shapes(folder)
        check_config(config, sum(map(math.prod, shapes.values())))
        model = _make(config)
        different = differences(weight_shapes(model), shapes)
        if different:
            raise ValueError(
                f"its {WEIGHTS} does not fit its {CONFIG}. {different} Nothing was "
                "loaded; get the whole folder again."
            )
        model.load_weights(folder / WEIGHTS)
        return model
    except ValueError as refusal:
        raise ValueError(f"The preset {str(folder)!r} is refused: {refusal}") from None


def is_preset(folder):
    """Whether a folder is one of Keras's: by its weights, or a config with a class."""
    folder = pathlib.Path(folder)
    if (folder / WEIGHTS).exists() or (folder / METADATA).exists():
        return True
    try:
        return "class_name" in json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError, RecursionError, TypeError):
        return False


def _read_json(path):
    """What a JSON file says, unless it is too large to be what it should be."""
    if not path.is_file():
        raise ValueError(f"it has no {path.name}.")
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"its {path.name} has {path.stat().st_size} bytes.")
    return as_config(path.read_bytes(), path.name)


def _checked_shapes(folder):
    """Shapes of the weights by their place, after a look at checksum and values."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"it has no {WEIGHTS}. For a random start pass load_weights=False."
        )
    metadata = folder / METADATA
    if metadata.is_file():
        expected = _read_json(metadata)
        expected = isinstance(expected, dict) and expected.get("weights_sha256")
        if expected and expected != _checksum(path):
            raise ValueError(
                f"its {WEIGHTS} is damaged, or of another preset: its checksum is not "
                f"that of {METADATA}. Get the folder again."
            )
    try:
        with open(path, "rb") as file:
            return check_weights(file)
    except ValueError:
        raise
    except Exception as error:  # whatever h5py makes of rubbish
        raise ValueError(f"its {WEIGHTS} is damaged: {error}") from None


def _make(config):
    try:
        return keras.saving.deserialize_keras_object(config)
    except Exception as error:
        raise ValueError(f"its {CONFIG} makes no model. {error}") from None


def _checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _halve(source, path):
    """Copy a file of weights with its float32 numbers as float16."""
    with (
        h5py.File(source, "r") as weights,
        h5py.File(path, "w", libver="latest") as halved,
    ):

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                half = item.dtype == "float32"
                values = item[...].astype("float16") if half else item[...]
                made = halved.create_dataset(name, data=values)
            else:
                made = halved.require_group(name)
            made.attrs.update(item.attrs)

        weights.visititems(copy)
        halved.attrs.update(weights.attrs)
