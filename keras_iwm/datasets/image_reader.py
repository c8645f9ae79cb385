"""A process that reads image files, or clips, for this one."""

import contextlib
import json
import os
import subprocess
import sys
import weakref

import numpy as np

from keras_iwm.datasets import image_worker
from keras_iwm.datasets.read_image import BACKGROUND, MAX_PIXELS, REMEDY
from keras_iwm.datasets.stored_file import StoredFile

# Bytes that a pipe holds, where the system lets us choose: fewer, longer reads.
_PIPE_SIZE = 2**20


class _ProcessEndedError(Exception):
    """The process has ended before its answer."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class ImageReader:
    """Decodes files in a process of its own, to be used by one thread at a time.

    The process is a plain Python program that knows Pillow and, for files that need
    it, NumPy: it starts in a fraction of a second and needs some 30 MB. Neither a fork
    (which can lock up a process that runs JAX or TensorFlow, for they have threads)
    nor a second import of the main script (which `multiprocessing` would make, Keras
    and all) is involved.

    It starts with the first read. It ends when this object is garbage or this process
    ends, even if killed, because then its input is closed.
    """

    def __init__(self):
        self._process = None

    def read(
        self,
        paths,
        image_size,
        num_channels=3,
        background=BACKGROUND,
        max_pixels=MAX_PIXELS,
        dtype=None,
        windows=None,
    ):
        """Returns what `read_files` returns, the images or clips in one array.

        Args:
            paths: List of paths or of `StoredFile`s.
            image_size: Tuple `(height, width)`.
            num_channels: Positive integer.
            background: As in `read_files`.
            max_pixels: As in `read_files`.
            dtype: As in `read_files`.
            windows: As in `read_files`.

        Returns:
            Tuple `(images, messages, dtype)`: an array
            `(len(paths), height, width, num_channels)` of the files' dtype, or of clips
            `(len(paths), num_frames, height, width, num_channels)`, a list of
            messages, each `None` or why a file cannot be used (its image then holds
            anything), and the name of the dtype, `None` if no file can be used. A file
            that ends the process, by a crash of a decoder, say, is one of these.
        """
        shape = sample_shape(image_size, num_channels, windows)
        options = (image_size, num_channels, background, max_pixels)
        for _ in range(2):  # It may have been killed for the memory of others.
            try:
                return self._ask(shape, paths, *options, dtype, windows)
            except _ProcessEndedError as error:
                code = error.code
        if len(paths) == 1:
            message = (
                f"The image file {paths[0]} ended the process that read it, twice, "
                f"with code {code}: a crash of its decoder, or too little memory."
            )
            return np.empty((1, *shape), "uint8"), [message + REMEDY], None
        # One of the files did it: each by itself.
        parts = []
        for path, window in zip(paths, windows or [None] * len(paths), strict=True):
            part = self.read([path], *options, dtype, window and [window])
            dtype = dtype or part[2]
            parts.append(part)
        images = np.empty((len(paths), *shape), dtype or "uint8")
        for image, (pixels, messages, _) in zip(images, parts, strict=True):
            if messages[0] is None:
                image[...] = pixels[0]
        return images, [messages[0] for _, messages, _ in parts], dtype

    def _ask(self, shape, files, *options):
        """Lets the process read files, and starts it if there is none."""
        stored = [file for file in files if isinstance(file, StoredFile)]
        request = json.dumps([[_announced(file) for file in files], *options])
        if self._process is None:
            self._start()
        process = self._process
        try:
            process.stdin.write(request.encode() + b"\n")
            for file in stored:
                process.stdin.write(file.content or b"")
            process.stdin.flush()
            messages, dtype = json.loads(process.stdout.readline())
            images = np.empty((len(messages), *shape), dtype or "uint8")
            for image, message in zip(images, messages, strict=True):
                if message is None:
                    pixels = memoryview(image.reshape(-1)).cast("B")
                    if process.stdout.readinto(pixels) < len(pixels):
                        raise EOFError
        except (OSError, EOFError, json.JSONDecodeError) as error:
            self._stop()
            self._process = None
            raise _ProcessEndedError(process.returncode) from error
        return images, messages, dtype

    def _start(self):
        """Starts the process, with the packages that this one sees."""
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            # -P: this file's neighbours must not hide packages of the same name.
            [sys.executable, "-P", image_worker.__file__],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        _widen(self._process.stdout)
        self._stop = weakref.finalize(self, _end, self._process)


def _announced(file):
    """Returns what the line of a request says of a file."""
    if not isinstance(file, StoredFile):
        return str(file)
    size = None if file.content is None else len(file.content)
    return file.name, size, file.error


def sample_shape(image_size, num_channels, windows):
    """Returns the shape of an image, or of a clip if there are windows."""
    frames = () if windows is None else (windows[0][1],)
    return (*frames, *image_size, num_channels)


def _widen(pipe):
    """Lets a pipe hold more, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    except (ImportError, AttributeError, OSError):
        pass  # Other systems have other pipes; all of them work.


def _end(process):
    """Closes the pipes of a process, upon which it ends, and waits for that."""
    process.stdout.close()
    with contextlib.suppress(OSError):  # It may be gone, with a request on its way.
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
