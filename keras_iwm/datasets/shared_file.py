"""Files that the processes of a run may write at the same time."""

import os
import pathlib


def write_shared_file(path, content):
    """Writes a file that is whole or not there; its folder is made.

    Not by `whole_file`, whose unfinished file has one name for all processes.

    Args:
        path: Path of the file.
        content: Bytes.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
