"""The one place that makes clips of videos and of folders of frames.

Part of the worker process of `ClipFolder`, like `read_image.py`: nothing of Keras is
imported here, and NumPy and PyAV only when a clip is read.
"""

import os
import pathlib
import re

from keras_iwm.datasets.decode_image import image_suffixes
from keras_iwm.datasets.decode_video import VIDEO_SUFFIXES, decode_frames
from keras_iwm.datasets.read_image import (
    MODES,
    REMEDY,
    convert,
    describe_error,
    fit_image,
    load_image,
)


def load_clip(path, window, image_size, num_channels, background, max_pixels):
    """Returns some frames of a video, or of a folder of images, resized and cropped.

    Args:
        path: Path of a video file or of a folder.
        window: Which frames, as `frame_numbers` takes it.
        image_size: Pair of integers, `(height, width)`.
        num_channels: Positive integer. Frames become grey, RGB or RGBA, for 1, 3 or 4
            channels; others are for folders of such files.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer; larger frames are not decoded.

    Returns:
        Array `(num_frames, height, width, num_channels)` of the files' dtype.

    Raises:
        ValueError: If the clip cannot be read, or is too short; the message names it.
    """
    import numpy as np

    try:
        if is_video(path):
            if num_channels not in MODES:
                raise ValueError(f"a video has not {num_channels} channels")
            images = decode_frames(path, lambda n: frame_numbers(n, window), max_pixels)
            images = (convert(image, num_channels, background) for image in images)
        else:
            files = list_frames(path)
            files = [files[number] for number in frame_numbers(len(files), window)]
            options = (num_channels, 2 * max(image_size), background, max_pixels)
            images = (load_image(file, *options) for file in files)
        frames = [np.asarray(fit_image(image, image_size)) for image in images]
        dtypes = sorted({str(frame.dtype) for frame in frames})
        if len(dtypes) > 1:
            raise ValueError(f"its frames hold {' and '.join(dtypes)}: convert them")
    except Exception as error:  # A stranger's file may raise any.
        reason = describe_error(error, path)
        raise ValueError(
            f"The clip {path} could not be read ({reason}).{REMEDY}"
        ) from error
    return np.stack(frames).reshape(len(frames), *image_size, num_channels)


def frame_numbers(count, window):
    """Returns the numbers of the frames of a clip.

    Args:
        count: Integer, how many frames there are.
        window: Tuple `(place, num_frames, frame_stride)`: where the clip lies, from 0
            for the first place to below 1, and its frames, every `frame_stride`-th.

    Returns:
        Range of `num_frames` integers.

    Raises:
        ValueError: If there are too few.
    """
    place, num_frames, frame_stride = window
    span = (num_frames - 1) * frame_stride + 1
    if count < span:
        raise ValueError(
            f"it has {count} frames, and {num_frames} with a stride of {frame_stride} "
            f"need {span}"
        )
    first = int(place * (count - span + 1))
    return range(first, first + span, frame_stride)


def is_video(path):
    """Whether a path is that of a video file, going by its name, not of a folder."""
    return pathlib.Path(path).suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)


def frame_suffixes():
    """Returns the suffixes of the files that are frames, in lower case."""
    return tuple(name for name in image_suffixes() if name not in VIDEO_SUFFIXES)


def list_frames(folder):
    """Returns the paths of a folder's frames: `frame10.png` after `frame9.png`."""
    suffixes = frame_suffixes()
    names = [
        name
        for name in os.listdir(folder)
        if name[0] != "." and os.path.splitext(name)[1].lower() in suffixes
    ]
    return [os.path.join(folder, name) for name in sorted(names, key=_numbered)]


def _numbered(name):
    """Returns what sorts names by the numbers in them."""
    parts = re.split("([0-9]+)", name)
    return [(int(part) if part.isdigit() else 0, part) for part in parts]
