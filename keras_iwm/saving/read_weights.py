"""Arrays and config of a published model."""

import json

from keras_iwm.saving.read_safetensors import read_safetensors
from keras_iwm.saving.read_torch import read_torch

TORCH = (".pth.tar", ".pth", ".pt", ".bin")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# What transformers and timm write beside the weights; the first has the last word.
CONFIGS = ("config.json", "preprocessor_config.json")


def read_weights(path):
    """Read a file of weights, or a folder as transformers and timm write it.

    Args:
        path: `pathlib.Path` of a `.safetensors` file, a file of Torch's, or a folder
            with `model.safetensors`, in one file or with an index of several.

    Returns:
        Pair of dictionaries: from names to arrays, which files of Torch's nest, and
        what the configs say that lie beside a `.safetensors`.

    Raises:
        ValueError: If a file is missing, damaged, of another kind, or would run code.
    """
    if path.is_file() and path.name.endswith(TORCH):
        return read_torch(path), {}
    if path.is_file() and path.suffix == ".safetensors":
        return read_safetensors(path), _read_configs(path.parent)
    if not path.is_dir():
        raise ValueError(
            f"`path` must be a folder, or a file that ends in .safetensors or one of "
            f"{', '.join(TORCH)}. Received: {str(path)!r}, which is "
            f"{'of another kind' if path.exists() else 'not there'}. Files of Keras's "
            "are for `keras_iwm.saving.load_model` and `load_encoder`."
        )
    if (path / WEIGHTS).is_file():
        return read_safetensors(path / WEIGHTS), _read_configs(path)
    if not (path / INDEX).is_file():
        raise ValueError(
            f"`path` must be a folder with {WEIGHTS} or {INDEX}. Received: "
            f"{str(path)!r} with {sorted(item.name for item in path.iterdir())[:20]}."
        )
    arrays = {}
    index = _read_json(path / INDEX).get("weight_map")
    shards = set(map(str, index.values())) if isinstance(index, dict) else {""}
    known = {item.name for item in path.glob("*.safetensors") if item.is_file()}
    if not shards <= known:
        raise ValueError(
            f"{path / INDEX} must name files of its folder, {sorted(known)}. Received: "
            f"{sorted(shards - known)}."
        )
    for shard in sorted(shards):
        arrays.update(read_safetensors(path / shard))
    if set(arrays) != set(index):
        raise ValueError(
            f"{path / INDEX} and its files must have the same weights. Received: "
            f"{sorted(set(arrays) ^ set(index))[:20]}."
        )
    return arrays, _read_configs(path)


def _read_configs(folder):
    """What the configs in a folder say, together."""
    config = {}
    for name in reversed(CONFIGS):
        if (folder / name).is_file():
            config.update(_read_json(folder / name))
    return config


def _read_json(path):
    """A JSON file that holds a dictionary."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary. Received: {content!r:.100}.")
    return content
