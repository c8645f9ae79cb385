"""What a folder of clips holds, and what of it is left out."""

from keras_iwm.datasets.decode_video import VIDEO_SUFFIXES
from keras_iwm.datasets.folder_walk import FolderWalk
from keras_iwm.datasets.read_clip import frame_suffixes

# Videos, going by their names, that are not read.
_OTHER_VIDEOS = (
    *(".divx", ".dv", ".f4v", ".h264", ".h265", ".hevc", ".m2v", ".m3u8", ".mjpeg"),
    *(".mjpg", ".mpd", ".mxf", ".ogm", ".rm", ".rmvb", ".swf", ".vob", ".y4m"),
)


class ClipWalk(FolderWalk):
    """Goes through a folder of clips: of videos, and of folders of frames.

    Args:
        folder: Path of the folder.
    """

    kind = "clips"

    def __init__(self, folder):
        super().__init__(folder)
        self.suffixes = (*VIDEO_SUFFIXES, *frame_suffixes())
        self.others = (*self.others, *_OTHER_VIDEOS)

    def top(self):
        """Returns the videos beside class folders, and the folders: two lists."""
        files, folders = super().top()
        frames = [name for name in files if not _is_video(name)]
        if frames:
            raise ValueError(
                f"A folder of clips must hold videos, or a folder of frames for each "
                f"clip. {self.folder} itself has {len(frames)} images, such as "
                f"{frames[0]}: put them into a folder, or name the folder above."
            )
        return files, folders

    def files(self, name):
        """Yields the names of the clips in a folder and those in it, in order.

        A folder that has images is a clip itself, and comes before what is in it.
        """
        entries = self.entries(name)
        if any(not is_folder and not _is_video(entry) for entry, is_folder in entries):
            yield name
        for entry, is_folder in entries:
            if is_folder:
                yield from self.files(f"{name}/{entry}")
            elif _is_video(entry):
                yield f"{name}/{entry}"


def _is_video(name):
    """Whether the name of a file is that of a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)
