"""Clips in a folder, as batches for `fit`."""

from typing import Literal

from keras_iwm.arguments import as_count, as_path
from keras_iwm.datasets.bad_files import BadFiles
from keras_iwm.datasets.checked_reader import CheckedReader
from keras_iwm.datasets.clip_walk import ClipWalk
from keras_iwm.datasets.decode_video import require_av
from keras_iwm.datasets.draw_place import draw_place
from keras_iwm.datasets.folder_dataset import FolderDataset
from keras_iwm.datasets.image_index import find_indexed_images
from keras_iwm.datasets.read_clip import is_video
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, require_pillow
from keras_iwm.datasets.reader_pool import ReaderPool
from keras_iwm.type_aliases import Path, Size


class ClipFolder(FolderDataset):
    """Batches of clips, from the videos of a folder or from folders of frames.

    The folder holds the clips themselves, or one folder per class; the class names in
    alphabetical order give the labels 0, 1, 2 and so on. A clip is a video file (MP4,
    MOV, MKV, WebM, AVI, MPEG, WMV, FLV, OGV, GIF; needs PyAV), or a folder that holds
    images, its frames, in the order of their names: `frame10.png` after `frame9.png`.

    Of each video come `num_frames` frames, every `frame_stride`-th, turned upright,
    resized until the shorter side fits, and centre-cropped, uint8 from 0 to 255.
    Where in the video they lie is drawn anew for each epoch. Of long videos take
    several clips an epoch: `clips_per_video` cuts a video into as many equal parts and
    draws a place for a clip that begins in each. Frames are counted as they are shown,
    whatever times lie between them. Frames that are image files are read as
    `ImageFolder` reads them.

    The order of the clips and their places are pure functions of `(seed, epoch)`. To
    resume, set `epoch` and pass the same number as `initial_epoch` to `fit`. With
    `shuffle=False`, and in `load`, clips lie in the middle of their parts.

    **Bad clips** cannot be read, break off, are too short for `num_frames`, or have too
    many pixels. With `bad_files="skip"` a batch has another clip in their place, of the
    same class if it has one: which, is a pure function of `(seed, epoch, clip)`, so
    batches keep their size and a resumed run its order. `load` leaves them out.
    `skipped` and `skipped_csv` list them, a warning counts them, and more than a tenth
    of all is an error. A video that was cut off and whose header does not tell is as
    long as what is left of it. Whatever else lies in the folder is named in a warning.

    Decoding is the slow part, so batches are prepared ahead, in threads by default: the
    decoders leave Python's lock while they work. Where many cores must feed a fast
    accelerator, set `num_processes`; a file that crashes its decoder then costs a
    process, not the run. A video is decoded from the last key frame before the clip:
    files with one every second or so, of a size near `image_size`, are read fastest.

    Args:
        folder: Path of the folder.
        image_size: Integer or pair `(height, width)`, of the frames handed out.
        num_frames: Integer from 1 to 10,000, the frames of a clip.
        frame_stride: Integer from 1 to 10,000: 1 for neighbouring frames, 2 for every
            second frame, and so on.
        batch_size: Positive integer.
        shuffle: Boolean, whether every epoch has an order, and places, of its own.
        seed: Non-negative integer from which orders and places are drawn.
        drop_remainder: Boolean, whether to leave out the clips that do not fill a
            last batch.
        clips_per_video: Integer from 1 to 10,000, the clips of each video in an epoch.
        num_threads: Positive integer, threads that decode; as many batches are
            prepared ahead.
        num_processes: Non-negative integer, processes that decode in their place.
        num_channels: Positive integer: 1 for grey, 3 for RGB; others as `ImageFolder`
            has them, for frames that are image files.
        bad_files: `"skip"`, or `"raise"` for a ValueError, also where something in
            the folder looks like videos or images and is not read.
        skipped_csv: Optional path of a file to which a line `path,reason` is added
            for each bad clip, once also if a run is resumed.
        background: Integer from 0 to 255, the grey below transparent pixels.
        max_pixels: Positive integer. Videos with larger frames are bad, before memory
            is taken for them.
        index: Optional path of a file that keeps the list of the clips. If it exists,
            the folder is not looked through; if not, it is made. Later files are not
            seen until it is deleted.

    Returns:
        Each batch is `(clips,)` for a flat folder, `(clips, labels)` for class
        folders: `(batch_size, num_frames, height, width, num_channels)`, uint8 or of
        the image files' dtype, and int32 `(batch_size,)`.

    Raises:
        ImportError: If there are video files and PyAV is not installed.
        ValueError: If the folder does not exist, holds no clips, or holds clips both
            beside and inside class folders; later, if there are bad clips, or too
            many.

    Example:

    ```python
    import os, tempfile
    import numpy as np
    from PIL import Image
    from keras_iwm.datasets import ClipFolder

    folder = tempfile.mkdtemp()
    for name in ("one", "two", "three", "four"):  # or one.mp4, two.mp4, ...
        os.mkdir(os.path.join(folder, name))
        for frame in range(20):
            pixels = np.random.randint(0, 256, (40, 50, 3), dtype="uint8")
            path = os.path.join(folder, name, f"{frame}.png")
            Image.fromarray(pixels).save(path)

    dataset = ClipFolder(folder, image_size=32, num_frames=8, batch_size=2)
    (clips,) = dataset[0]
    clips.shape  # (2, 8, 32, 32, 3)
    ```
    """

    def __init__(
        self,
        folder: Path,
        image_size: Size,
        num_frames: int,
        frame_stride: int = 1,
        batch_size: int = 16,
        shuffle: bool = True,
        seed: int = 0,
        drop_remainder: bool = True,
        clips_per_video: int = 1,
        num_threads: int = 4,
        num_processes: int = 0,
        num_channels: int = 3,
        bad_files: Literal["skip", "raise"] = "skip",
        skipped_csv: Path | None = None,
        background: int = BACKGROUND,
        max_pixels: int = MAX_PIXELS,
        index: Path | None = None,
    ) -> None:
        require_pillow()
        pool = ReaderPool(
            image_size, num_channels, background, max_pixels, num_threads, num_processes
        )
        self.num_frames = as_count("num_frames", num_frames, 1, 10_000)
        self.frame_stride = as_count("frame_stride", frame_stride, 1, 10_000)
        self.clips_per_video = as_count("clips_per_video", clips_per_video, 1, 10_000)
        folder = as_path("folder", folder)
        files = find_indexed_images(folder, index, bad_files, ClipWalk)
        if any(is_video(path) for path in files[0]):
            require_av()
        account = BadFiles(bad_files, len(files[0]), skipped_csv, "clips")
        super().__init__(
            files,
            CheckedReader(files[0], pool, account, self._window(0.5)),
            (self.num_frames, *pool.image_size, pool.num_channels),
            self.clips_per_video,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
        )

    def _read(self, indices, epoch=None):
        """Returns clips, and which of them are good."""
        numbers = [divmod(int(index), self.clips_per_video) for index in indices]
        draws = [draw_place(self, index, epoch) for index in indices]
        return self._reader.read(
            [self.paths[file] for file, _ in numbers],
            [
                self._window((part + draw) / self.clips_per_video)
                for (_, part), draw in zip(numbers, draws, strict=True)
            ],
        )

    def _window(self, place):
        """Returns which frames of a video make up a clip, as `load_clip` takes it."""
        return place, self.num_frames, self.frame_stride
