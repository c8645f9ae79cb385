"""Shards in a folder."""

import itertools
import os


class LocalStore:
    """Reads shards in a folder, as `RemoteStore` does elsewhere.

    Args:
        url: Path of the folder.
    """

    def __init__(self, url):
        self.url = str(url)

    def sizes(self):
        """Returns a dictionary from the names of the files to their sizes, in order."""
        with os.scandir(self.url) as entries:
            found = {
                entry.name: entry.stat().st_size for entry in entries if entry.is_file()
            }
        return dict(sorted(found.items()))

    def open(self, name):
        """Opens a file for reading."""
        return open(os.path.join(self.url, name), "rb")

    def read_ranges(self, names, starts, ends):
        """Returns parts of files: a list of bytes, or of the errors in their place."""
        contents = [None] * len(names)
        in_place = sorted(range(len(names)), key=lambda row: (names[row], starts[row]))
        for name, rows in itertools.groupby(in_place, key=lambda row: names[row]):
            rows = list(rows)
            try:
                with self.open(name) as file:
                    for row in rows:
                        file.seek(starts[row])
                        contents[row] = file.read(ends[row] - starts[row])
            except OSError as error:
                for row in rows:
                    contents[row] = contents[row] or error
        return contents
