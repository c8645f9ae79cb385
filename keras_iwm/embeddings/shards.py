"""What is done of a folder's embeddings, in files that a kill leaves whole."""

import json
import shutil

import numpy as np

from keras_iwm.whole_file import whole_file

_SETTINGS = "settings.json"


class Shards:
    """Parts of a table of embeddings, each a file of its own.

    Args:
        folder: Path of the folder that holds them, made if missing.
        settings: Dictionary for JSON of everything that the numbers depend on.

    Raises:
        ValueError: If the folder holds parts of another table.
    """

    def __init__(self, folder, settings):
        self.folder = folder
        path = folder / _SETTINGS
        if not len(self):  # Nothing is lost.
            shutil.rmtree(folder, ignore_errors=True)
            with whole_file(path) as unfinished:
                unfinished.write_text(json.dumps(settings))
        begun = json.loads(path.read_text())
        others = [name for name, value in settings.items() if begun.get(name) != value]
        if others:
            raise ValueError(
                f"`output` was begun with other settings, of which {folder} holds a "
                "part: "
                + ", ".join(f"{name}={begun.get(name)!r}" for name in others)
                + f". Received: {', '.join(f'{n}={settings[n]!r}' for n in others)}. "
                "Go on with those, or delete the folder."
            )

    def __len__(self):
        """Returns how many parts are done."""
        return len(list(self.folder.glob("shard_*.npz")))

    def append(self, indices, embeddings):
        """Writes the next part: numbers of the files, and a row for each."""
        with whole_file(self._path(len(self))) as unfinished:
            np.savez(unfinished, indices=indices, embeddings=embeddings)

    def indices(self):
        """Returns the numbers of all files that have a row, in order."""
        return np.concatenate([self._read(n, "indices") for n in range(len(self))])

    def parts(self):
        """Yields `(indices, embeddings)` of each part, one at a time."""
        for number in range(len(self)):
            yield self._read(number, "indices"), self._read(number, "embeddings")

    def _path(self, number):
        return self.folder / f"shard_{number:06d}.npz"

    def _read(self, number, name):
        with np.load(self._path(number), allow_pickle=False) as arrays:
            return arrays[name]
