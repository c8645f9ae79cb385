"""What the images of a folder are called in a tar file."""

import collections
import hashlib


def member_names(paths):
    """Returns a name for each image, whose first dot is that of its suffix.

    So readers of WebDataset, who end a sample's name at its first dot, take no two
    images for one sample.

    Args:
        paths: `ImagePaths`.

    Raises:
        ValueError: If two images would be called alike.
    """
    names = [_name(paths.name(position)) for position in range(len(paths))]
    samples = collections.Counter(map(_sample, names))
    names = [
        _with_suffix(name) if samples[_sample(name)] > 1 else name for name in names
    ]
    samples = collections.Counter(map(_sample, names))
    repeated = [name for name in names if samples[_sample(name)] > 1]
    if repeated:
        raise ValueError(
            f"`folder` has images whose names cannot be told apart in a tar file, such "
            f"as {repeated[0]!r} and {repeated[1]!r}. Rename one."
        )
    return names


def _name(name):
    """Returns a name below a folder, without dots but that of its suffix."""
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".")
    folder, suffix = (part.replace("\\", "%5C") for part in (folder, suffix))
    return folder + slash + plain_name(stem) + dot + suffix


def plain_name(stem):
    """Returns a name without dots and backslashes, from which it can be told."""
    stem = stem.replace("%", "%25").replace(".", "%2E")
    return stem.replace("\\", "%5C")


def _with_suffix(name):
    """Returns a name that says its suffix before the dot too."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}%2E{suffix}.{suffix}"


def _sample(name):
    """Returns what tells a sample from others, in little memory."""
    stem = name.rpartition(".")[0].encode("utf-8", "surrogateescape")
    return hashlib.blake2b(stem, digest_size=8).digest()
