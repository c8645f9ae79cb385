"""From a folder of images to tar shards."""

import io
import json
import os
import tarfile
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_count, as_path
from keras_iwm.datasets.file_checksum import file_checksum
from keras_iwm.datasets.find_images import find_images
from keras_iwm.datasets.local_store import LocalStore
from keras_iwm.datasets.member_names import member_names
from keras_iwm.datasets.read_image import require_pillow
from keras_iwm.datasets.shard_index import index_content, is_shard_name
from keras_iwm.datasets.shard_manifest import (
    INDEX,
    MANIFEST,
    finished_manifest,
    started_manifest,
)
from keras_iwm.datasets.shard_scan import ShardScan
from keras_iwm.datasets.tar_members import BLOCK, MAX_SIZE, padded
from keras_iwm.type_aliases import Path
from keras_iwm.whole_file import whole_file

SHARD_SIZE = 256_000_000


def pack_folder(
    folder: Path, output: Path, shard_size: int = SHARD_SIZE, seed: int = 0
) -> dict[str, Any]:
    """Packs the images of a folder into tar shards, for `ImageShards`.

    The files are copied as they are, in a random order, so that each shard is a sample
    of the whole: `images-000000.tar` and so on, as WebDataset reads them too, with a
    `.cls` file for each image if there is a folder for each class. The same folder,
    seed and size give the same bytes. Names stay, except that dots and percent signs
    before the suffix become `%2E` and `%25`, and files that differ only in their
    suffix are told apart, for WebDataset ends a name at its first dot.

    `images.index` says where each image lies, and `manifest.json` which shards there
    are, with their SHA-256. Every file is whole or not there, the manifest is finished
    last: whatever stops it, the same call goes on behind the last whole shard.
    `check_shards`, or `keras-iwm check`, verifies all of it later.

    Args:
        folder: Path of the folder, as `ImageFolder` takes it.
        output: Path of the folder of shards, made if missing.
        shard_size: Positive integer, the most bytes of a shard, unless one image takes
            more. Some 100 to 500 MB suit stores and networks.
        seed: Non-negative integer, of the order.

    Returns:
        The dictionary of `manifest.json`: `"num_images"`, `"size"` in bytes,
        `"class_names"` (a list or `None`), and `"shards"`, for each a dictionary of
        `"name"`, `"num_images"`, `"size"` and `"sha256"`.

    Raises:
        ValueError: If the folder cannot be listed, as `ImageFolder` says, if a file
            has more than a gigabyte or changes meanwhile, or if `output` holds
            finished or other shards.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import pack_folder

    folder, output = tempfile.mkdtemp(), tempfile.mkdtemp()
    for i in range(16):
        pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(os.path.join(folder, f"{i}.png"))
    manifest = pack_folder(folder, output, shard_size=50_000)
    [shard["name"] for shard in manifest["shards"]]  # ["images-000000.tar", ...]
    ```
    """
    require_pillow()
    folder, output = as_path("folder", folder), as_path("output", output)
    shard_size = as_count("shard_size", shard_size)
    seed = as_count("seed", seed, 0)
    started = started_manifest(shard_size, seed)
    _check_manifest(output / MANIFEST, started)
    paths, labels, class_names = find_images(folder, "skip")
    names = member_names(paths)
    sizes = np.array([os.path.getsize(path) for path in paths])
    if sizes.max() > MAX_SIZE:
        raise ValueError(
            f"`folder` must have images of at most {MAX_SIZE} bytes. Received: "
            f"{paths[int(sizes.argmax())]} of {sizes.max()} bytes. Move it away."
        )
    order = np.random.default_rng(seed).permutation(len(paths))
    parts = _cut(order, names, sizes, labels is not None, shard_size)
    shards = [f"images-{number:06d}.tar" for number in range(len(parts))]
    output.mkdir(parents=True, exist_ok=True)
    store = LocalStore(output)
    _check_shards(store, shards)
    _write_json(output / MANIFEST, started)

    with tqdm(desc="Packing images", total=len(paths)) as progress:
        for name, part in zip(shards, parts, strict=True):
            if not (output / name).exists():
                with whole_file(output / name) as path:
                    _write_shard(path, part, paths, names, sizes, labels)
            _check_shard(store, name, [names[index] for index in part], sizes[part])
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
    manifest = finished_manifest(started, facts, index, class_names)
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


def _cut(order, names, sizes, has_labels, shard_size):
    """Returns the images of each shard, a list of arrays."""
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


def _write_shard(path, part, paths, names, sizes, labels):
    """Writes one tar file, whose bytes depend on the images alone."""
    format = {"format": tarfile.GNU_FORMAT, "errors": "surrogateescape"}
    with tarfile.open(path, "w:", encoding="utf-8", **format) as tar:
        for index in part:
            member = tarfile.TarInfo(names[index])
            member.size = int(sizes[index])
            with open(paths[index], "rb") as file:
                if os.fstat(file.fileno()).st_size != member.size:
                    raise ValueError(
                        f"{paths[index]} has changed since packing began: start again."
                    )
                tar.addfile(member, file)
            if labels is not None:
                content = str(labels[index]).encode()
                member = tarfile.TarInfo(names[index].rpartition(".")[0] + ".cls")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _check_shard(store, name, names, sizes):
    """Raises if a shard does not hold these images."""
    scan = ShardScan(store, {name: os.path.getsize(os.path.join(store.url, name))})
    records, _ = scan.scan(quietly=True)
    found = [records.name(row) for row in range(len(records))]
    if scan.left_out or found != names or (records.lengths != sizes).any():
        raise ValueError(
            f"`output` must hold no other shards. {store.url}/{name} does not hold "
            "what it should: was the folder changed since packing began? Remove the "
            "shards and begin anew."
        )


def _write_json(path, content):
    """Writes a dictionary; the file is whole or as it was."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
