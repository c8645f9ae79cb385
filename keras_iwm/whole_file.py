"""Files that a crash leaves either whole or absent."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def whole_file(path):
    """Write a file aside, bring it to the disk, and only then give it its name.

    Whatever had the name before stays whole until then, also after a crash, a power
    cut or on a full disk. What an error leaves behind is removed.

    Args:
        path: Path of the file. Its folder is made if missing.

    Yields:
        Path, with the same suffix, to write to.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished{path.suffix}")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            # Else a power cut could leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Windows opens no folders.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
