"""What the headers of all files of a folder say."""

import collections
import concurrent.futures

from tqdm import tqdm

from keras_iwm.arguments import as_count
from keras_iwm.datasets.find_images import as_paths, list_images
from keras_iwm.datasets.read_ahead import read_ahead
from keras_iwm.datasets.read_image import describe_error

_NUM_SIZES = 10
_NUM_TASKS = 1000


def survey_folder(folder, walk, read, counted, measure, num_threads):
    """Reads the headers of all images, or clips, of a folder.

    Args:
        folder: Path of the folder.
        walk: `FolderWalk` or `ClipWalk`, for images or clips.
        read: Function of a path that returns a dictionary, or raises an error of any
            kind for a bad file.
        counted: Dictionary from names in the report to keys of these dictionaries,
            whose values are counted.
        measure: Function of such a dictionary that returns what orders files.
        num_threads: Positive integer, threads that read.

    Returns:
        Tuple `(report, first, last)`: a dictionary as `check_folder` returns it, and
        for the first and the last file in order a pair of its dictionary and its path,
        or `None` if all are bad.
    """
    num_threads = as_count("num_threads", num_threads, 1, 1024)
    names, classes, left_out, lost = list_images(folder, walk=walk)
    paths, _, _ = as_paths(folder, names, classes)
    counts = {name: collections.Counter() for name in ("suffixes", *counted)}
    bad, found = {}, []

    def order(pair):
        return measure(pair[0]), pair[1]

    def try_to_read(path):
        try:
            return read(path), None
        except Exception as error:  # A stranger's file may raise any.
            return None, describe_error(error, path)

    with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
        headers = read_ahead(threads, try_to_read, paths, _NUM_TASKS)
        headers = tqdm(headers, desc="Reading headers", total=len(paths))
        for path, (header, reason) in zip(paths, headers, strict=True):
            counts["suffixes"][path.suffix.lower()] += 1
            if header is None:
                bad[str(path)] = reason
                continue
            for name, key in counted.items():
                if header[key] is not None:
                    counts[name][header[key]] += 1
            found.append((header, str(path)))
            found = [min(found, key=order), max(found, key=order)]
    all_names = [paths.name(position) for position in range(len(paths))]
    report = {
        f"num_{walk.kind}": len(paths),
        "classes": classes,
        **{
            name: dict(count.most_common(_NUM_SIZES if name == "sizes" else None))
            for name, count in counts.items()
        },
        "bad": bad,
        "left_out": left_out,
        "lost": sorted(lost),
        "same_names": _repeated(name.rpartition("/")[2] for name in all_names),
        "same_stems": _repeated(name.rpartition(".")[0].lower() for name in all_names),
    }
    return report, *(found or (None, None))


def _repeated(names):
    """Returns the names that come more than once, with their numbers."""
    counts = collections.Counter(names)
    return {name: count for name, count in counts.items() if count > 1}
