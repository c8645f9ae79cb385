"""Which images a folder or a URL of shards holds."""

import os
import warnings

import numpy as np

from keras_iwm.arguments import as_optional, as_path
from keras_iwm.datasets.bad_files import check_policy
from keras_iwm.datasets.find_images import describe
from keras_iwm.datasets.open_store import open_store
from keras_iwm.datasets.shard_index import (
    index_content,
    is_shard_name,
    read_index_content,
)
from keras_iwm.datasets.shard_manifest import read_manifest
from keras_iwm.datasets.shard_scan import ShardScan
from keras_iwm.datasets.shared_file import write_shared_file

_COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")


def find_shards(shards, index, bad_files):
    """Returns the images of shards, as `find_images` does those of a folder.

    They stand in the index that `pack_folder` made with the shards, or in the file
    `index` of an earlier run; else the headers of all shards are read.

    Args:
        shards: Path of a folder or a URL.
        index: Optional path of the file of an earlier run, written if missing.
        bad_files: `"skip"` or `"raise"`.

    Returns:
        Tuple `(records, labels, class_names)`: `ShardRecords`, int32 `(num_images,)`
        or `None`, and a list or `None`.

    Raises:
        ValueError: If there are no shards, or no images in them, if the manifest or
            the index is damaged; with `"raise"` also if something that was meant to
            be an image cannot be used.
    """
    check_policy(bad_files)
    index = as_optional(as_path, "index", index)
    store, sizes = open_store("shards", shards)
    packed = read_manifest(store, sizes)
    if packed is not None:
        manifest, records, labels = packed
        _compare(store, records, sizes, bad_files)
        class_names = manifest["class_names"]
    elif index is not None and os.path.exists(index):
        records, labels = _read_index(index, store)
        _compare(store, records, sizes, bad_files)
        class_names = class_numbers(labels)
    else:
        records, labels = _scan(store, sizes, bad_files)
        class_names = class_numbers(labels)
        if index is not None:
            write_shared_file(index, index_content(records, labels))
    if len(records) == 0:
        raise ValueError(f"`shards` must hold images. There is none in {store.url}.")
    return records, labels, class_names


def list_shards(store, sizes):
    """Returns the sizes of the tar files among these files.

    Raises:
        ValueError: If there is none.
    """
    found = {name: size for name, size in sizes.items() if is_shard_name(name)}
    if not found:
        others = [name for name in sizes if name.lower().endswith(_COMPRESSED)]
        why = (
            f" {others[0]} is compressed, and nothing in it could be found again: "
            "unpack it, images hardly shrink."
            if others
            else ""
        )
        raise ValueError(
            f"`shards` must hold tar files, ending in .tar. There is none in "
            f"{store.url}.{why}"
        )
    return found


def changed_shards(records, sizes):
    """Returns for each shard that is not as it was indexed what is wrong with it.

    Args:
        records: `ShardRecords`.
        sizes: Dictionary from the names of the files that are there to their sizes.
    """
    changed = {}
    for name, size in records.sizes.items():
        if name not in sizes:
            changed[name] = "it is missing"
        elif sizes[name] != size:
            changed[name] = f"it has {sizes[name]} bytes, and had {size}"
    return changed


def class_numbers(labels):
    """Returns names for classes that have numbers only, or `None`."""
    if labels is None:
        return None
    return [str(number) for number in range(int(np.max(labels)) + 1)]


def _compare(store, records, sizes, bad_files):
    """Warns, or raises, if shards are not as they were when they were indexed."""
    changed = changed_shards(records, sizes)
    if not changed:
        return
    name, why = next(iter(changed.items()))
    message = (
        f"{len(changed)} of {len(records.sizes)} shards in {store.url} are not as they "
        f"were: {name}, {why}."
    )
    if bad_files == "raise":
        raise ValueError(f"{message} Restore them, or pack the images again.")
    warnings.warn(f"{message} What they lack is taken for bad files.", stacklevel=4)


def _read_index(index, store):
    """Returns what an index file of an earlier run holds."""
    with open(index, "rb") as file:
        content = file.read()
    try:
        return read_index_content(content, store)
    except ValueError as error:
        raise ValueError(
            "`index` must be a list of the images in shards, written by an earlier "
            f"run. {index}: {error}. Delete it, and it is made anew."
        ) from error


def _scan(store, sizes, bad_files):
    """Reads the headers of all shards, and says what was left out."""
    scan = ShardScan(store, list_shards(store, sizes))
    records, labels = scan.scan()
    if scan.left_out:
        message = f"Left out in {store.url}: {describe(scan.left_out)}."
        if scan.lost and bad_files == "raise":
            raise ValueError(f"{message} Repair the shards, or pack them again.")
        warnings.warn(message, stacklevel=5)
    return records, labels
