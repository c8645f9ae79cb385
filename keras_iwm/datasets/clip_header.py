"""What a clip says about itself, without its frames being decoded."""

from keras_iwm.datasets.decode_video import frame_times, open_video, require_av
from keras_iwm.datasets.image_header import read_header
from keras_iwm.datasets.read_clip import is_video, list_frames


def read_clip_header(path, max_pixels):
    """Returns `codec`, `size`, `num_frames`, `frame_rate`, `channels` of a clip.

    Those of a folder of frames are its first frame's, and its frame rate `None`. Raises
    an error of any kind if the clip cannot be read, or has too many pixels.
    """
    if not is_video(path):
        frames = list_frames(path)
        headers = [read_header(frame, max_pixels) for frame in frames]
        first = headers[0]
        return {
            "codec": first["format"],
            "size": first["size"],
            "num_frames": len(frames),
            "frame_rate": None,
            "channels": first["channels"],
        }
    require_av()
    times, _ = frame_times(path, max_pixels)
    container, stream = open_video(path, max_pixels)
    with container:
        rate = stream.average_rate
        return {
            "codec": stream.codec_context.name,
            "size": (stream.width, stream.height),
            "num_frames": len(times),
            "frame_rate": rate and round(float(rate), 2),
            "channels": 3,
        }
