"""How `check_folder` and `check_shards` look at an image."""

from keras_iwm.datasets.decode_image import decode
from keras_iwm.datasets.image_header import read_header
from keras_iwm.datasets.read_image import BACKGROUND

COUNTED = {"formats": "format", "modes": "mode", "bits": "bits", "sizes": "size"}
# JPEGs are decoded small: their data are read to the end all the same.
_DRAFT_SIZE = 64


def image_check(decode_pixels, max_pixels):
    """Returns a function of an image file that returns its header, or raises."""

    def read(path):
        header = read_header(path, max_pixels)
        if decode_pixels:
            channels = header["channels"]
            decode(path, channels, _DRAFT_SIZE, BACKGROUND, max_pixels)
        return header

    return read


def num_pixels(header):
    """Returns what decides which image is larger."""
    width, height = header["size"]
    return width * height


def extremes(smallest, largest):
    """Returns what a report says of the smallest and the largest image."""
    return {
        name: found and (found[0]["size"], found[1])
        for name, found in (("smallest", smallest), ("largest", largest))
    }
