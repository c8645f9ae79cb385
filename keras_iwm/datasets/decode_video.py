"""From a video file to some of its frames, upright.

Part of the worker process of `ClipFolder`, like `read_clip.py`: nothing of Keras is
imported here, and PyAV and NumPy only when a video is read.
"""

import contextlib
import functools
import os

from keras_iwm.datasets.decode_image import check_pixels

# Of GIF, `ImageFolder` reads the first frame; a folder of clips takes it for a video.
VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
# FFmpeg goes by what a file holds. Left out are formats that name other files, or
# addresses, which it would open: playlists and lists of parts.
_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg,gif"
# Long videos are few: their list of frames is made once. That of a short one is made in
# a thousandth of a second.
_NUM_KEPT = 1024


def require_av():
    """Raises a clear error if PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading video files needs PyAV: `pip install av`. Folders of frames are "
            "read without it."
        ) from error


def decode_frames(path, choose, max_pixels):
    """Yields some frames of a video, as Pillow images in RGB.

    Args:
        path: Path of the file.
        choose: Function of the number of frames that returns the rising numbers of
            those that are wanted.
        max_pixels: Positive integer; larger frames are not decoded.
    """
    from av.video.reformatter import VideoReformatter

    times, keys = frame_times(path, max_pixels)
    reformatter = VideoReformatter()
    wanted = [times[number] for number in choose(len(times))]
    with contextlib.closing(_decode_from(path, wanted[0], keys, max_pixels)) as frames:
        frame = next(frames)
        for time in wanted:
            while frame is not None and frame.pts < time:
                frame = next(frames, None)
            if frame is None:
                raise ValueError("it breaks off")
            image = to_image(frame, reformatter)
            # Cameras store how they were held, as the angle to turn back by.
            angle = frame.rotation
            yield image.rotate(angle, expand=True) if angle else image


def to_image(frame, reformatter):
    """Returns a frame of PyAV as a Pillow image in RGB.

    A frame's own `to_image` starts threads for each, which takes longer than the frame.
    """
    from PIL import Image

    plane = reformatter.reformat(frame, format="rgb24", threads=1)
    size, (pixels,) = (plane.width, plane.height), plane.planes
    rows = "raw", "RGB", pixels.line_size, 1
    return Image.frombuffer("RGB", size, memoryview(pixels), *rows)


def frame_times(path, max_pixels):
    """Returns when the frames of a video are shown, and where decoding can begin.

    Headers tell the number of frames in some formats, and are wrong in some files; so
    the file is gone through, without being decoded.

    Args:
        path: Path of the file.
        max_pixels: Positive integer; a file of larger frames is an error.

    Returns:
        Tuple `(times, keys)`, in the file's own unit of time: a rising array, and a
        list of pairs (when a frame that needs no other is shown, when it is decoded).
    """
    return _frame_times(path, os.stat(path).st_mtime_ns, max_pixels)


def open_video(path, max_pixels):
    """Opens a file in PyAV.

    Returns:
        Tuple `(container, stream)`, the first stream of pictures.
    """
    import av

    limit = {"max_pixels": str(max_pixels)}
    container = av.open(str(path), options={"format_whitelist": _FORMATS, **limit})
    try:
        if not container.streams.video:
            raise ValueError("it has no pictures")
        stream = container.streams.video[0]
        check_pixels((stream.width, stream.height), max_pixels)
        if not stream.width:  # FFmpeg drops sizes above the limit that it was given.
            raise ValueError(f"its frames have more pixels than {max_pixels=}, or none")
    except ValueError:
        container.close()
        raise
    stream.codec_context.options = limit  # A later frame may be larger.
    stream.codec_context.thread_count = 1  # Several files are read at a time.
    return container, stream


@functools.lru_cache(_NUM_KEPT)
def _frame_times(path, changed, max_pixels):
    """Returns what `frame_times` does, of a file that was `changed` then."""
    import numpy as np

    times, keys = [], []
    container, stream = open_video(path, max_pixels)
    with container:
        for packet in container.demux(stream):
            time = packet.dts if packet.pts is None else packet.pts
            if packet.is_discard or time is None:
                continue
            times.append(time)
            if packet.is_keyframe:
                keys.append((time, time if packet.dts is None else packet.dts))
        if len(times) < stream.frames:
            raise ValueError(
                f"it breaks off: it has {len(times)} of {stream.frames} frames"
            )
    return np.sort(np.array(times, "int64")), sorted(keys)


def _decode_from(path, time, keys, max_pixels):
    """Yields the decoded frames from one on that is shown at a time, or before it.

    Where a format leads to a later frame than it was asked for, from the first one on.
    """
    places = [place for shown, place in keys if shown <= time][-1:]
    for place in (*places, None):
        container, stream = open_video(path, max_pixels)
        with container:
            if place is not None:
                container.seek(int(place), stream=stream)
            frames = container.decode(stream)
            first = next(frames, None)
            if place is None or (first is not None and first.pts <= time):
                yield first
                yield from frames
                return
