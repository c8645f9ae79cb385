"""Models from files that may come from anyone."""

import pathlib

import keras

from keras_iwm.arguments import as_boolean
from keras_iwm.saving.check_file import check_file
from keras_iwm.saving.load_shards import load_shards
from keras_iwm.saving.shard_folder import ShardFolder
from keras_iwm.type_aliases import AnyModel, Path


def load_model(path: Path, compile: bool = True) -> AnyModel:
    """Load a model from a `.keras` file or a folder of shards, after a look at it.

    Like `keras.models.load_model`, but `check_file` goes first, and every message
    names the file.

    Args:
        path: Path of the file, or of what `save_shards` or `RunCheckpoint` with
            `sharded=True` has written, on whatever backend and devices.
        compile: Boolean, whether to compile the model as it was saved, with its
            optimizer's state.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the file is refused, see `check_file`, or its weights do not
            fit the model that it describes.

    Example:

    ```python
    import os, tempfile

    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    model.save(path)
    model = keras_iwm.saving.load_model(path)
    ```
    """
    compile = as_boolean("compile", compile)
    check_file(path)
    try:
        if pathlib.Path(path).is_dir():
            return load_shards(ShardFolder(path), compile)
        return keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded: its config and its weights do not fit each "
            f"other. {error}"
        ) from error
