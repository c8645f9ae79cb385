"""What lies in a folder of images, before a run reads it."""

from typing import Any

from keras_iwm.arguments import as_boolean, as_count, as_path
from keras_iwm.datasets.folder_walk import FolderWalk
from keras_iwm.datasets.image_survey import (
    COUNTED,
    extremes,
    image_check,
    num_pixels,
)
from keras_iwm.datasets.read_image import MAX_PIXELS, require_pillow
from keras_iwm.datasets.survey_folder import survey_folder
from keras_iwm.type_aliases import Path


def check_folder(
    folder: Path,
    decode_pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
    num_threads: int = 4,
) -> dict[str, Any]:
    """Reads the headers of all images of a folder, and says what is there.

    A run on a folder that nobody has looked through takes days; this takes minutes. In
    a shell, `keras-iwm check FOLDER` prints it. A file can break off behind a good
    header: `decode_pixels` finds that too, in the time of one epoch.

    Args:
        folder: Path of the folder, as `ImageFolder` takes it.
        decode_pixels: Boolean, whether to read the files to their ends.
        max_pixels: Positive integer. Images with more are bad files.
        num_threads: Positive integer, threads that read.

    Returns:
        Dictionary:

        - `"num_images"`: integer, the files that are listed.
        - `"classes"`: from each class to its number of files, or `None`.
        - `"suffixes"`, `"formats"`, `"modes"`, `"bits"`, `"sizes"`: from each suffix,
          format, mode (as Pillow calls it, or channels and dtype), bits of a channel
          and (width, height) to its number of files, the most frequent first; of the
          sizes only ten.
        - `"smallest"`, `"largest"`: pair of (width, height) and path, by the number of
          pixels, or `None`.
        - `"bad"`: from the path of each file that cannot be used to the reason.
        - `"left_out"`: from the kind of what is not listed (other suffixes, hidden
          files, links in a circle) to its number and the first name.
        - `"lost"`: list of the kinds among them that were meant to be images.
        - `"same_names"`: from the names that files in several folders have, to their
          number.
        - `"same_stems"`: from names without suffix that several files of one folder
          have, upper and lower case alike, to their number.

    Raises:
        ValueError: If the folder cannot be listed, as `ImageFolder` says.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image

    folder = tempfile.mkdtemp()
    image = Image.fromarray(np.zeros((40, 50, 3), "uint8"))
    image.save(os.path.join(folder, "good.png"))
    open(os.path.join(folder, "empty.jpg"), "w").close()
    report = keras_iwm.datasets.check_folder(folder)
    report["sizes"]  # {(50, 40): 1}
    report["bad"]  # {".../empty.jpg": "it is empty"}
    ```
    """
    require_pillow()
    folder = as_path("folder", folder)
    decode_pixels = as_boolean("decode_pixels", decode_pixels)
    max_pixels = as_count("max_pixels", max_pixels)

    report, *ends = survey_folder(
        folder,
        FolderWalk,
        image_check(decode_pixels, max_pixels),
        COUNTED,
        num_pixels,
        num_threads,
    )
    return report | extremes(*ends)
