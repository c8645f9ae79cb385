"""What lies in a folder of images, before a run reads it."""

import collections
import concurrent.futures
from typing import Any

from tqdm import tqdm

from keras_iwm.arguments import as_boolean, as_count, as_path
from keras_iwm.datasets.decode_image import decode
from keras_iwm.datasets.find_images import as_paths, describe, list_images
from keras_iwm.datasets.image_header import read_header
from keras_iwm.datasets.read_ahead import read_ahead
from keras_iwm.datasets.read_image import (
    BACKGROUND,
    MAX_PIXELS,
    describe_error,
    require_pillow,
)
from keras_iwm.type_aliases import Path

# JPEGs are decoded small: their data are read to the end all the same.
_DRAFT_SIZE = 64
_NUM_SIZES = 10
_NUM_TASKS = 1000


def check_folder(
    folder: Path,
    decode_pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
    num_threads: int = 4,
) -> dict[str, Any]:
    """Reads the headers of all images of a folder, and says what is there.

    A run on a folder that nobody has looked through takes days; this takes minutes. In
    a shell, `keras-iwm check FOLDER` prints it. A file can break off behind a good
    header: `decode_pixels` finds that too, in the time of one epoch.

    Args:
        folder: Path of the folder, as `ImageFolder` takes it.
        decode_pixels: Boolean, whether to read the files to their ends.
        max_pixels: Positive integer. Images with more are bad files.
        num_threads: Positive integer, threads that read.

    Returns:
        Dictionary:

        - `"num_images"`: integer, the files that are listed.
        - `"classes"`: from each class to its number of files, or `None`.
        - `"suffixes"`, `"formats"`, `"modes"`, `"bits"`, `"sizes"`: from each suffix,
          format, mode (as Pillow calls it, or channels and dtype), bits of a channel
          and (width, height) to its number of files, the most frequent first; of the
          sizes only ten.
        - `"smallest"`, `"largest"`: pair of (width, height) and path, by the number of
          pixels, or `None`.
        - `"bad"`: from the path of each file that cannot be used to the reason.
        - `"left_out"`: from the kind of what is not listed (other suffixes, hidden
          files, links in a circle) to its number and the first name.
        - `"lost"`: list of the kinds among them that were meant to be images.
        - `"same_names"`: from the names that files in several folders have, to their
          number.
        - `"same_stems"`: from names without suffix that several files of one folder
          have, upper and lower case alike, to their number.

    Raises:
        ValueError: If the folder cannot be listed, as `ImageFolder` says.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image

    folder = tempfile.mkdtemp()
    image = Image.fromarray(np.zeros((40, 50, 3), "uint8"))
    image.save(os.path.join(folder, "good.png"))
    open(os.path.join(folder, "empty.jpg"), "w").close()
    report = keras_iwm.datasets.check_folder(folder)
    report["sizes"]  # {(50, 40): 1}
    report["bad"]  # {".../empty.jpg": "it is empty"}
    ```
    """
    require_pillow()
    folder = as_path("folder", folder)
    decode_pixels = as_boolean("decode_pixels", decode_pixels)
    max_pixels = as_count("max_pixels", max_pixels)
    num_threads = as_count("num_threads", num_threads, 1, 1024)
    names, classes, left_out, lost = list_images(folder)
    paths, _, _ = as_paths(folder, names, classes)
    counts = {
        kind: collections.Counter()
        for kind in ("suffixes", "formats", "modes", "bits", "sizes")
    }
    bad, smallest, largest = {}, None, None

    def read(path):
        try:
            header = read_header(path, max_pixels)
            if decode_pixels:
                channels = header["channels"]
                decode(path, channels, _DRAFT_SIZE, BACKGROUND, max_pixels)
            return header, None
        except Exception as error:  # A stranger's file may raise any.
            return None, describe_error(error, path)

    with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
        headers = read_ahead(threads, read, paths, _NUM_TASKS)
        headers = tqdm(headers, desc="Reading headers", total=len(paths))
        for path, (header, reason) in zip(paths, headers, strict=True):
            counts["suffixes"][path.suffix.lower()] += 1
            if header is None:
                bad[str(path)] = reason
                continue
            for kind, key in (("formats", "format"), ("modes", "mode")):
                counts[kind][header[key]] += 1
            counts["bits"][header["bits"]] += 1
            counts["sizes"][header["size"]] += 1
            measured = (header["size"], str(path))
            smallest = min(smallest or measured, measured, key=_num_pixels)
            largest = max(largest or measured, measured, key=_num_pixels)
    all_names = [paths.name(position) for position in range(len(paths))]
    return {
        "num_images": len(paths),
        "classes": classes,
        **{
            kind: dict(count.most_common(_NUM_SIZES if kind == "sizes" else None))
            for kind, count in counts.items()
        },
        "smallest": smallest,
        "largest": largest,
        "bad": bad,
        "left_out": left_out,
        "lost": sorted(lost),
        "same_names": _repeated(name.rpartition("/")[2] for name in all_names),
        "same_stems": _repeated(name.rpartition(".")[0].lower() for name in all_names),
    }


def folder_report(report):
    """Returns what `check_folder` found, as lines of text."""
    classes = report["classes"]
    lines = [
        f"{report['num_images']} images"
        + ("" if classes is None else f" in {len(classes)} classes")
    ]
    for kind in ("suffixes", "formats", "modes", "bits", "sizes"):
        parts = [
            f"{'x'.join(map(str, key)) if kind == 'sizes' else key}: {count}"
            for key, count in report[kind].items()
        ]
        lines.append(f"{kind}: {', '.join(parts)}")
    for kind in ("smallest", "largest"):
        if report[kind]:
            (width, height), path = report[kind]
            lines.append(f"{kind}: {width}x{height} {path}")
    for kind, words in (
        ("same_names", "names that files in several folders have"),
        ("same_stems", "names that differ in suffix or case only"),
    ):
        if report[kind]:
            lines.append(
                f"{len(report[kind])} {words}, the first is {min(report[kind])}"
            )
    if report["left_out"]:
        lines.append(f"left out: {describe(report['left_out'])}")
    lines.append(f"{len(report['bad'])} bad files")
    lines += [f"  {path}: {reason}" for path, reason in report["bad"].items()]
    return lines


def _num_pixels(measured):
    """Returns what decides which image is larger."""
    (width, height), path = measured
    return width * height, path


def _repeated(names):
    """Returns the names that come more than once, with their numbers."""
    counts = collections.Counter(names)
    return {name: count for name, count in counts.items() if count > 1}
