"""The images of a folder, to be packed into shards."""

import contextlib
import os

import numpy as np

from keras_iwm.datasets.find_images import find_images
from keras_iwm.datasets.member_names import member_names
from keras_iwm.datasets.tar_members import MAX_SIZE


class FolderFiles:
    """Names, sizes, labels and contents of the images of a folder.

    Args:
        folder: Path.

    Raises:
        ValueError: If the folder cannot be listed, or a file is too large.
    """

    def __init__(self, folder):
        self._paths, self.labels, self.class_names = find_images(folder, "skip")
        self.names = member_names(self._paths)
        self.sizes = np.array([os.path.getsize(path) for path in self._paths])
        if self.sizes.max() > MAX_SIZE:
            raise ValueError(
                f"`folder` must have images of at most {MAX_SIZE} bytes. Received: "
                f"{self._paths[int(self.sizes.argmax())]} of {self.sizes.max()} bytes. "
                "Move it away."
            )

    def order(self, random):
        """Returns the images in the order of the shards, int64 `(num_images,)`."""
        return random.permutation(len(self.names))

    @contextlib.contextmanager
    def open(self, index):
        """Opens the binary stream of an image.

        Raises:
            ValueError: If it has another size than before.
        """
        path = self._paths[index]
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != self.sizes[index]:
                raise ValueError(
                    f"{path} has changed since packing began: start again."
                )
            yield file
