"""Which images shards hold, and where, in little memory."""

import collections.abc

import numpy as np

from keras_iwm.datasets.image_paths import ImagePaths
from keras_iwm.datasets.stored_file import StoredFile
from keras_iwm.datasets.tar_members import BLOCK, read_header


class ShardRecords(collections.abc.Sequence):
    """Sequence of the images in tar files; an item is a `StoredFile`.

    Args:
        store: `LocalStore` or `RemoteStore`.
        sizes: Dictionary from the names of the shards to their bytes.
        names: Bytes, the names of the images, as `ImagePaths` takes them.
        shards: int32 `(num_images,)`, rising, the shard of each image.
        offsets: int64 `(num_images,)`, where in its shard an image begins.
        lengths: int64 `(num_images,)`, the bytes of an image.
    """

    def __init__(self, store, sizes, names, shards, offsets, lengths):
        self.store = store
        self.sizes = sizes
        self.shards = shards
        self.offsets = offsets
        self.lengths = lengths
        self._shard_names = list(sizes)
        self._names = ImagePaths(store.url, names)

    def __len__(self):
        """Returns the number of images."""
        return len(self.shards)

    def __getitem__(self, index):
        """Returns an image, or a sequence of images for a slice."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.read([index])[0]

    def name(self, index):
        """Returns the name of an image in its shard, with `/` between folders."""
        return self._names.name(index)

    def names(self):
        """Returns all names as the constructor takes them."""
        return self._names.names()

    def take(self, indices):
        """Returns the sequence of some of the images."""
        part = object.__new__(ShardRecords)
        vars(part).update(vars(self))
        for name in ("shards", "offsets", "lengths"):
            setattr(part, name, getattr(self, name)[indices])
        part._names = self._names.take(indices)
        return part

    def read(self, indices):
        """Returns images as a list of `StoredFile`; what fails has an error."""
        files = [self._shard_names[self.shards[index]] for index in indices]
        # With the header before it, by which a shard that was changed is noticed.
        starts = [int(self.offsets[index]) - BLOCK for index in indices]
        ends = [
            start + BLOCK + int(self.lengths[index])
            for start, index in zip(starts, indices, strict=True)
        ]
        contents = self.store.read_ranges(files, starts, ends)
        return [
            self._stored_file(index, file, content, end - start)
            for index, file, content, start, end in zip(
                indices, files, contents, starts, ends, strict=True
            )
        ]

    def _stored_file(self, index, file, content, length):
        """Returns an image, of which a header and its bytes should have been read."""
        name = f"{self.store.url}/{file}/{self.name(index)}"
        if isinstance(content, Exception):
            error = f"{type(content).__name__} while reading its shard: {content}"
            return StoredFile(name, None, error)
        if len(content) < length:
            return StoredFile(name, None, "its shard breaks off")
        header = read_header(content[:BLOCK])
        if header is None or not header.isreg() or header.size != length - BLOCK:
            return StoredFile(name, None, "its shard holds something else in its place")
        return StoredFile(name, content[BLOCK:])
