"""What a folder of shards says of itself: `manifest.json`."""

import hashlib
import json

import numpy as np

from keras_iwm.datasets.shard_index import is_shard_name, read_index_content

MANIFEST, INDEX = "manifest.json", "images.index"
_FORMAT = "keras_iwm shards 1"


def started_manifest(shard_size, seed):
    """Returns the manifest of shards that are being packed."""
    return {
        "format": _FORMAT,
        "finished": False,
        "shard_size": shard_size,
        "seed": seed,
    }


def finished_manifest(started, shards, index, class_names):
    """Returns the manifest of shards that have been packed.

    Args:
        started: Dictionary that `started_manifest` has returned.
        shards: List of dictionaries with `name`, `num_images`, `size` and `sha256`.
        index: Bytes of the file of the index.
        class_names: List of strings or `None`.
    """
    return {
        **started,
        "finished": True,
        "num_images": sum(shard["num_images"] for shard in shards),
        "size": sum(shard["size"] for shard in shards),
        "class_names": class_names,
        "index_sha256": hashlib.sha256(index).hexdigest(),
        "shards": shards,
    }


def read_manifest(store, sizes):
    """Returns the manifest of a store and what its index holds, or `None`.

    Args:
        store: `LocalStore` or `RemoteStore`.
        sizes: Dictionary from the names of its files to their sizes.

    Returns:
        Tuple `(manifest, records, labels)`: the dictionary, `ShardRecords`, and int32
        `(num_images,)` or `None`. `None` in place of it all where there is no
        manifest of this library's.

    Raises:
        ValueError: If the manifest is damaged, or does not say what the index says.
    """
    if MANIFEST not in sizes:
        return None
    content = read_whole(store, MANIFEST)
    try:
        manifest = json.loads(content)
        if not str(manifest["format"]).startswith("keras_iwm shards"):
            return None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if INDEX not in sizes:
            return None  # Others have manifests too.
        raise ValueError(_distrust(store, "it is damaged")) from error
    if manifest.get("finished") is not True:
        raise ValueError(
            f"The shards in {store.url} are not packed to the end: run `keras-iwm "
            "pack` with the same options again, and it goes on."
        )
    try:
        index = read_whole(store, INDEX)
        if hashlib.sha256(index).hexdigest() != manifest["index_sha256"]:
            raise ValueError(f"{INDEX} is not the one that was made with it")
        records, labels = read_index_content(index, store)
        _check(manifest, records, labels)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(_distrust(store, str(error) or repr(error))) from error
    return manifest, records, labels


def read_whole(store, name):
    """Returns the bytes of a file."""
    with store.open(name) as file:
        return file.read()


def _distrust(store, reason):
    """Returns a message about a manifest."""
    return (
        f"{MANIFEST} in {store.url} cannot be trusted ({reason}). Pack the images "
        f"again, or remove {MANIFEST} and {INDEX}: the shards are then read through."
    )


def _check(manifest, records, labels):
    """Raises if a manifest does not say what its index says."""
    shards, class_names = manifest["shards"], manifest["class_names"]
    if manifest["format"] != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT!r}")
    if manifest["num_images"] != len(records):
        raise ValueError("it counts other images than its index")
    if not all(is_shard_name(shard["name"]) for shard in shards):
        raise ValueError("a shard has a name that no shard has")
    if {shard["name"]: shard["size"] for shard in shards} != records.sizes:
        raise ValueError("it names other shards, or other sizes, than its index")
    counts = np.bincount(records.shards, minlength=len(shards)).tolist()
    if [shard["num_images"] for shard in shards] != counts:
        raise ValueError("it counts other images than its index")
    if (class_names is None) != (labels is None) or (
        labels is not None and labels.max() >= len(class_names)
    ):
        raise ValueError("it has other classes than its index")
