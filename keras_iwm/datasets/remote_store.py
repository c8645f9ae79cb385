"""Shards in whatever fsspec reads."""


class RemoteStore:
    """Reads shards behind a URL, many parts of them at a time.

    Args:
        url: String, as fsspec takes it, such as `"s3://bucket/photos"`.
    """

    def __init__(self, url):
        try:
            import fsspec
        except ImportError as error:
            raise ImportError(
                f"Reading {url} needs fsspec: `pip install fsspec`, and the package "
                "of the store, such as s3fs or gcsfs."
            ) from error
        self.url = url.rstrip("/")
        self._files, self._folder = fsspec.core.url_to_fs(url)

    def sizes(self):
        """Returns a dictionary from the names of the files to their sizes, in order."""
        entries = self._files.ls(self._folder, detail=True, refresh=True)
        found = {
            entry["name"].rstrip("/").rpartition("/")[2]: entry["size"]
            for entry in entries
            if entry["type"] == "file"
        }
        return dict(sorted(found.items()))

    def open(self, name):
        """Opens a file for reading."""
        return self._files.open(self._path(name), "rb")

    def read_ranges(self, names, starts, ends):
        """Returns parts of files: a list of bytes, or of the errors in their place."""
        paths = [self._path(name) for name in names]
        return self._files.cat_ranges(paths, starts, ends, on_error="return")

    def _path(self, name):
        """Returns what the store calls a file."""
        return f"{self._folder.rstrip('/')}/{name}"
