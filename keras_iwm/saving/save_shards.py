"""A model in a folder that all processes write together."""

from keras_iwm.arguments import as_object, as_path
from keras_iwm.saving.write_shards import write_shards
from keras_iwm.type_aliases import AnyModel, Path


def save_shards(model: AnyModel, folder: Path) -> None:
    """Write a model into a folder, each process a part of it.

    For models that are slow to write as one file, or too large for one host. Every
    process that trains the model calls this, and writes about the same number of
    bytes into a file of its own, `shard_00000.safetensors` and so on, of pieces that
    its devices hold. One piece at a time is held in memory. What each process holds
    whole, as on Torch, is divided among them.

    The folder, on a file system that all processes share, counts once it has an
    `index.json`, which is written last: after a crash it has none, and neither
    `load_model` nor `RunCheckpoint` takes it for a model.

    `load_model` makes the model again, on any backend and number of devices; saved
    from there, it is one `.keras` file: `keras-iwm merge`.

    Args:
        model: `keras.Model`, built, of registered classes. With its optimizer, once
            that has been built.
        folder: Path of the folder, made if missing. Shards that it holds are replaced.

    Raises:
        ValueError: If an argument cannot be meant.
        OSError: If a file cannot be written. All processes raise.

    Example:

    ```python
    import os, tempfile

    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    folder = os.path.join(tempfile.mkdtemp(), "shards")
    keras_iwm.saving.save_shards(model, folder)
    model = keras_iwm.saving.load_model(folder)
    model.save(folder + ".keras")
    ```
    """
    as_object("model", model, ("variables", "get_config"), "a Keras model")
    write_shards(model, as_path("folder", folder))
