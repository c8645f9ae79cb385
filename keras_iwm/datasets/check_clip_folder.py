"""What lies in a folder of clips, before a run reads it."""

from typing import Any

from keras_iwm.arguments import as_boolean, as_count, as_path
from keras_iwm.datasets.clip_header import read_clip_header
from keras_iwm.datasets.clip_walk import ClipWalk
from keras_iwm.datasets.decode_image import decode
from keras_iwm.datasets.decode_video import decode_frames
from keras_iwm.datasets.read_clip import frame_numbers, is_video, list_frames
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, require_pillow
from keras_iwm.datasets.survey_folder import survey_folder
from keras_iwm.type_aliases import Path

# JPEGs are decoded small: their data are read to the end all the same.
_DRAFT_SIZE = 64


def check_clip_folder(
    folder: Path,
    num_frames: int = 1,
    frame_stride: int = 1,
    decode_pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
    num_threads: int = 4,
) -> dict[str, Any]:
    """Counts the frames of all clips of a folder, and says what is there.

    As `check_folder` does for images; in a shell, `keras-iwm check FOLDER --num-frames
    16 --frame-stride 4` prints it. Videos are gone through from beginning to end, which
    finds those that are cut off, but decoded only with `decode_pixels`.

    Args:
        folder: Path of the folder, as `ClipFolder` takes it.
        num_frames: Positive integer, the frames that a clip needs.
        frame_stride: Positive integer: 1 for neighbouring frames, 2 for every second
            frame, and so on.
        decode_pixels: Boolean, whether to decode all frames.
        max_pixels: Positive integer. Clips of larger frames are bad.
        num_threads: Positive integer, threads that read.

    Returns:
        Dictionary:

        - `"num_clips"`: integer, the clips that are listed.
        - `"classes"`: from each class to its number of clips, or `None`.
        - `"suffixes"`, `"codecs"`, `"frame_rates"`, `"sizes"`: from each suffix (none
          for folders of frames), codec (of frames their format), number of frames a
          second and (width, height) to its number of clips, the most frequent first;
          of the sizes only ten.
        - `"shortest"`, `"longest"`: pair of the number of frames and the path, or
          `None`.
        - `"bad"`: from the path of each clip that cannot be used, or is too short, to
          the reason.
        - `"left_out"`, `"lost"`, `"same_names"`, `"same_stems"`: as `check_folder` has
          them.

    Raises:
        ValueError: If the folder cannot be listed, as `ClipFolder` says.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image

    folder = tempfile.mkdtemp()
    for name, num_frames in (("long", 9), ("short", 3)):
        os.mkdir(os.path.join(folder, name))
        for frame in range(num_frames):
            image = Image.fromarray(np.zeros((40, 50, 3), "uint8"))
            image.save(os.path.join(folder, name, f"{frame}.png"))
    report = keras_iwm.datasets.check_clip_folder(folder, num_frames=4)
    report["longest"]  # (9, ".../long")
    report["bad"]  # {".../short": "it has 3 frames, and 4 with a stride of 1 need 4"}
    ```
    """
    require_pillow()
    folder = as_path("folder", folder)
    num_frames = as_count("num_frames", num_frames, 1, 10_000)
    frame_stride = as_count("frame_stride", frame_stride, 1, 10_000)
    decode_pixels = as_boolean("decode_pixels", decode_pixels)
    max_pixels = as_count("max_pixels", max_pixels)

    def read(path):
        header = read_clip_header(path, max_pixels)
        frame_numbers(header["num_frames"], (0.0, num_frames, frame_stride))
        if decode_pixels:
            _decode(path, header["channels"], max_pixels)
        return header

    counted = {"codecs": "codec", "frame_rates": "frame_rate", "sizes": "size"}
    report, shortest, longest = survey_folder(
        folder,
        ClipWalk,
        read,
        counted,
        _length,
        num_threads,
    )
    for name, found in (("shortest", shortest), ("longest", longest)):
        report[name] = found and (found[0]["num_frames"], found[1])
    return report


def _length(header):
    """Returns what decides which clip is longer."""
    return header["num_frames"]


def _decode(path, num_channels, max_pixels):
    """Decodes all frames of a clip, one by one."""
    if is_video(path):
        for _ in decode_frames(path, range, max_pixels):
            pass
    else:
        for frame in list_frames(path):
            decode(frame, num_channels, _DRAFT_SIZE, BACKGROUND, max_pixels)
