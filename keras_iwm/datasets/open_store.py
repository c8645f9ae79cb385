"""Where shards lie."""

import os

from keras_iwm.arguments import as_path
from keras_iwm.datasets.local_store import LocalStore
from keras_iwm.datasets.remote_store import RemoteStore


def open_store(name, place):
    """Returns what reads files at a path or URL, and which files there are.

    Args:
        name: String, the name of the argument that messages speak of.
        place: Path of a folder, or a URL for fsspec.

    Returns:
        Pair of a `LocalStore` or `RemoteStore` and a dictionary from the names of its
        files to their sizes.

    Raises:
        ImportError: If it is a URL and fsspec, or what it needs, is not installed.
        ValueError: If there is no such folder.
    """
    if is_url(place):
        try:
            store = RemoteStore(place)
            return store, store.sizes()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"`{name}` must be a folder, or a URL that fsspec can list. Received: "
                f"{place}, and {type(error).__name__}: {error}."
            ) from error
    folder = as_path(name, place)
    if not os.path.isdir(folder):
        raise ValueError(f"`{name}` must be an existing folder. Received: {folder}")
    store = LocalStore(folder)
    return store, store.sizes()


def is_url(place):
    """Whether this names something that fsspec reads, rather than a path."""
    return isinstance(place, str) and "://" in place
