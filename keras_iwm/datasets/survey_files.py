"""What the headers of many files say."""

import collections
import concurrent.futures
import pathlib

from tqdm import tqdm

from keras_iwm.datasets.read_ahead import read_ahead
from keras_iwm.datasets.read_image import describe_error

_NUM_SIZES = 10
_NUM_TASKS = 1000


def survey_files(paths, read, counted, measure, num_threads):
    """Reads the headers of all images, or clips.

    Args:
        paths: `ImagePaths` or `ShardRecords`.
        read: Function of one of them that returns a dictionary, or raises an error of
            any kind for a bad file.
        counted: Dictionary from names in the report to keys of these dictionaries,
            whose values are counted.
        measure: Function of such a dictionary that returns what orders files.
        num_threads: Positive integer, threads that read.

    Returns:
        Tuple `(report, first, last)`: what `check_folder` returns of the files, and
        for the first and the last file in order a pair of its dictionary and its path,
        or `None` if all are bad.
    """
    counts = {name: collections.Counter() for name in ("suffixes", *counted)}
    bad, found = {}, []

    def order(pair):
        return measure(pair[0]), pair[1]

    def try_to_read(index):
        path = paths[index]
        try:
            return str(path), read(path), None
        except Exception as error:  # A stranger's file may raise any.
            return str(path), None, describe_error(error, path)

    with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
        headers = read_ahead(threads, try_to_read, range(len(paths)), _NUM_TASKS)
        for path, header, reason in tqdm(
            headers, desc="Reading headers", total=len(paths)
        ):
            counts["suffixes"][pathlib.PurePosixPath(path).suffix.lower()] += 1
            if header is None:
                bad[path] = reason
                continue
            for name, key in counted.items():
                if header[key] is not None:
                    counts[name][header[key]] += 1
            found.append((header, path))
            found = [min(found, key=order), max(found, key=order)]
    all_names = [paths.name(position) for position in range(len(paths))]
    report = {
        **{
            name: dict(count.most_common(_NUM_SIZES if name == "sizes" else None))
            for name, count in counts.items()
        },
        "bad": bad,
        "same_names": _repeated(name.rpartition("/")[2] for name in all_names),
        "same_stems": _repeated(name.rpartition(".")[0].lower() for name in all_names),
    }
    return report, *(found or (None, None))


def _repeated(names):
    """Returns the names that come more than once, with their numbers."""
    counts = collections.Counter(names)
    return {name: count for name, count in counts.items() if count > 1}
