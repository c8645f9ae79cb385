"""Images of any source, packed into tar shards."""

import io
import json
import os
import tarfile

import numpy as np
from tqdm import tqdm

from keras_iwm.datasets.file_checksum import file_checksum
from keras_iwm.datasets.local_store import LocalStore
from keras_iwm.datasets.shard_index import index_content, is_shard_name
from keras_iwm.datasets.shard_manifest import (
    INDEX,
    MANIFEST,
    finished_manifest,
    started_manifest,
)
from keras_iwm.datasets.shard_scan import ShardScan
from keras_iwm.datasets.tar_members import BLOCK, padded
from keras_iwm.whole_file import whole_file

SHARD_SIZE = 256_000_000


def write_shards(find, output, shard_size, seed):
    """Packs images into tar shards, as `pack_folder` says.

    Args:
        find: Function that returns the images: `FolderFiles` or `ParquetImages`.
        output: `pathlib.Path` of the folder of shards.
        shard_size: Positive integer, the most bytes of a shard.
        seed: Non-negative integer, of the order.

    Returns:
        The dictionary of `manifest.json`.

    Raises:
        ValueError: If `output` holds finished or other shards.
    """
    started = started_manifest(shard_size, seed)
    _check_manifest(output / MANIFEST, started)
    images = find()
    order = images.order(np.random.default_rng(seed))
    parts = _cut(order, images, shard_size)
    shards = [f"images-{number:06d}.tar" for number in range(len(parts))]
    output.mkdir(parents=True, exist_ok=True)
    store = LocalStore(output)
    _check_shards(store, shards)
    _write_json(output / MANIFEST, started)

    with tqdm(desc="Packing images", total=len(order)) as progress:
        for name, part in zip(shards, parts, strict=True):
            if not (output / name).exists():
                with whole_file(output / name) as path:
                    _write_shard(path, part, images)
            _check_shard(store, name, part, images)
            progress.update(len(part))

    found = store.sizes()
    records, labels = ShardScan(store, {name: found[name] for name in shards}).scan()
    index = index_content(records, labels)
    with whole_file(output / INDEX) as path:
        path.write_bytes(index)
    facts = [
        {
            "name": name,
            "num_images": len(part),
            "size": found[name],
            "sha256": file_checksum(store, name),
        }
        for name, part in zip(shards, parts, strict=True)
    ]
    manifest = finished_manifest(started, facts, index, images.class_names)
    _write_json(output / MANIFEST, manifest)
    return manifest


def _check_manifest(path, started):
    """Raises if the output is finished, or was begun in another way."""
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if found != started:
        raise ValueError(
            f"`output` must be a folder without shards, or one that the same call has "
            f"begun. {path} says that it is not: take another folder, or remove it."
        )


def _check_shards(store, shards):
    """Raises if there are shards that would not be there."""
    unfinished = "unfinished.tar"  # a crash can leave it
    others = {name for name in store.sizes() if is_shard_name(name)}
    others -= {*shards, unfinished}
    if others:
        raise ValueError(
            f"`output` must hold no other shards. {store.url} has {min(others)}: take "
            "another folder, or remove it."
        )


def _cut(order, images, shard_size):
    """Returns the images of each shard, a list of arrays."""
    names, sizes, has_labels = images.names, images.sizes, images.labels is not None
    parts, first, filled = [], 0, 0
    for row, index in enumerate(order):
        # Headers of longer names, and those of labels, come on top.
        taken = BLOCK + padded(int(sizes[index])) + 2 * BLOCK * has_labels
        long = len(names[index].encode("utf-8", "surrogateescape")) > 100
        taken += 2 * BLOCK * long * (1 + has_labels)
        whole = -(-(filled + taken + 2 * BLOCK) // tarfile.RECORDSIZE)
        if row > first and whole * tarfile.RECORDSIZE > shard_size:
            parts.append(order[first:row])
            first, filled = row, 0
        filled += taken
    return [*parts, order[first:]]


def _write_shard(path, part, images):
    """Writes one tar file, whose bytes depend on the images alone."""
    format = {"format": tarfile.GNU_FORMAT, "errors": "surrogateescape"}
    with tarfile.open(path, "w:", encoding="utf-8", **format) as tar:
        for index in part:
            member = tarfile.TarInfo(images.names[index])
            member.size = int(images.sizes[index])
            with images.open(index) as file:
                tar.addfile(member, file)
            if images.labels is not None:
                content = str(images.labels[index]).encode()
                stem = images.names[index].rpartition(".")[0]
                member = tarfile.TarInfo(f"{stem}.cls")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _check_shard(store, name, part, images):
    """Raises if a shard does not hold these images."""
    names, sizes = [images.names[index] for index in part], images.sizes[part]
    scan = ShardScan(store, {name: os.path.getsize(os.path.join(store.url, name))})
    records, _ = scan.scan(quietly=True)
    found = [records.name(row) for row in range(len(records))]
    if scan.left_out or found != names or (records.lengths != sizes).any():
        raise ValueError(
            f"`output` must hold no other shards. {store.url}/{name} does not hold "
            "what it should: were the images changed since packing began? Remove the "
            "shards and begin anew."
        )


def _write_json(path, content):
    """Writes a dictionary; the file is whole or as it was."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
