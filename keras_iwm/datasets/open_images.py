"""A folder of images, or shards, whichever it is."""

import os

from keras_iwm.datasets.decode_image import image_suffixes
from keras_iwm.datasets.image_folder import ImageFolder
from keras_iwm.datasets.image_shards import ImageShards
from keras_iwm.datasets.open_store import is_url


def open_images(path, image_size, **options):
    """Returns `ImageShards` for shards, `ImageFolder` for any other folder.

    Args:
        path: Path of the folder, or URL of shards.
        image_size: Integer or pair `(height, width)`.
        **options: Those that both take.
    """
    kind = ImageShards if is_shards(path) else ImageFolder
    return kind(path, image_size, **options)


def is_shards(path):
    """Whether this is a URL, or a folder of tar files with no images beside them."""
    if is_url(path):
        return True
    if not os.path.isdir(path):
        return False
    has_tar = False
    with os.scandir(path) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name[0] != "." and (entry.is_dir() or suffix in image_suffixes()):
                return False
            has_tar |= suffix == ".tar"
    return has_tar
