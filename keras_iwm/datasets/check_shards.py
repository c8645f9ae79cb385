"""What lies in shards, before a run reads them."""

from typing import Any

import numpy as np
from tqdm import tqdm

from keras_iwm.arguments import as_boolean, as_count
from keras_iwm.datasets.file_checksum import file_checksum
from keras_iwm.datasets.find_shards import changed_shards, class_numbers, list_shards
from keras_iwm.datasets.image_survey import (
    COUNTED,
    extremes,
    image_check,
    num_pixels,
)
from keras_iwm.datasets.open_store import open_store
from keras_iwm.datasets.read_image import MAX_PIXELS, require_pillow
from keras_iwm.datasets.shard_manifest import read_manifest
from keras_iwm.datasets.shard_scan import ShardScan
from keras_iwm.datasets.survey_files import survey_files
from keras_iwm.type_aliases import Path


def check_shards(
    shards: Path,
    decode_pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
    num_threads: int = 4,
) -> dict[str, Any]:
    """Verifies shards against their manifest, and reads the headers of all images.

    With a `manifest.json` of `pack_folder`, each shard must have the size and the
    SHA-256 that stand there, and hold the images that the index tells. Others' tars
    are read through. In a shell, `keras-iwm check SHARDS` prints what was found.

    Args:
        shards: Path of a folder of tar files or a URL, as `ImageShards` takes it.
        decode_pixels: Boolean, whether to read the images to their ends.
        max_pixels: Positive integer. Images with more are bad.
        num_threads: Positive integer, threads that read.

    Returns:
        Dictionary: what `check_folder` returns, and

        - `"num_shards"`: integer.
        - `"bad_shards"`: from the name of each shard that is not as its manifest says,
          to what is wrong with it; empty where there is no manifest.

    Raises:
        ValueError: If there are no shards, or the manifest contradicts its index.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import check_shards, pack_folder

    folder, output = tempfile.mkdtemp(), tempfile.mkdtemp()
    image = Image.fromarray(np.zeros((40, 50, 3), "uint8"))
    image.save(os.path.join(folder, "good.png"))
    pack_folder(folder, output)
    with open(os.path.join(output, "images-000000.tar"), "ab") as shard:
        shard.write(bytes(512))
    check_shards(output)["bad_shards"]
    # {"images-000000.tar": "it has 10752 bytes, and had 10240"}
    ```
    """
    require_pillow()
    decode_pixels = as_boolean("decode_pixels", decode_pixels)
    max_pixels = as_count("max_pixels", max_pixels)
    num_threads = as_count("num_threads", num_threads, 1, 1024)
    store, sizes = open_store("shards", shards)
    packed, bad_shards = read_manifest(store, sizes), {}
    if packed is None:
        scan = ShardScan(store, list_shards(store, sizes))
        records, labels = scan.scan()
        left_out, lost = scan.left_out, scan.lost
        class_names = class_numbers(labels)
    else:
        manifest, records, labels = packed
        left_out, lost, class_names = {}, (), manifest["class_names"]
        others = [
            name for name in list_shards(store, sizes) if name not in records.sizes
        ]
        if others:
            left_out["shards that the manifest does not name"] = len(others), others[0]
        bad_shards = _bad_shards(store, sizes, manifest, records)
    report, *ends = survey_files(
        records,
        image_check(decode_pixels, max_pixels),
        COUNTED,
        num_pixels,
        num_threads,
    )
    return {
        **report,
        **extremes(*ends),
        "num_images": len(records),
        "classes": _count(labels, class_names),
        "left_out": left_out,
        "lost": sorted(lost),
        "num_shards": len(records.sizes),
        "bad_shards": bad_shards,
    }


def _bad_shards(store, sizes, manifest, records):
    """Returns what is wrong with shards, by name."""
    bad = changed_shards(records, sizes)
    for number, shard in enumerate(tqdm(manifest["shards"], desc="Reading shards")):
        name = shard["name"]
        if name in bad:
            continue
        try:
            if file_checksum(store, name) != shard["sha256"]:
                bad[name] = "its SHA-256 is another one"
                continue
            found, _ = ShardScan(store, {name: sizes[name]}).scan(quietly=True)
        except OSError as error:
            bad[name] = f"it cannot be read: {error}"
            continue
        expected = records.take(records.shards == number)
        if (
            found.names() != expected.names()
            or not np.array_equal(found.offsets, expected.offsets)
            or not np.array_equal(found.lengths, expected.lengths)
        ):
            bad[name] = "it holds other images than the index says"
    return bad


def _count(labels, class_names):
    """Returns the number of images of each class, or `None`."""
    if labels is None:
        return None
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))
