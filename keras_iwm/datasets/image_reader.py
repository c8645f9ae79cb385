"""A process that reads image files for this one."""

import contextlib
import json
import os
import subprocess
import sys
import weakref

import numpy as np

from keras_iwm.datasets import image_worker

# Bytes that a pipe holds, where the system lets us choose: fewer, longer reads.
_PIPE_SIZE = 2**20


class ImageReader:
    """Decodes image files in a process of its own, to be used by one thread at a time.

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

    def read(self, paths, image_size, num_channels=3, *options):
        """Returns what `read_images` returns, the images in one array.

        Args:
            paths: List of paths.
            image_size: Tuple `(height, width)`.
            num_channels: Positive integer.
            *options: The other arguments of `read_images`.

        Returns:
            Tuple `(images, messages, dtype)`: an array
            `(len(paths), height, width, num_channels)` of the files' dtype, a list of
            messages, each `None` or why a file cannot be used (its image then holds
            anything), and the name of the dtype, `None` if no file can be used.

        Raises:
            RuntimeError: If the process has ended, killed for its memory, say.
        """
        if self._process is None:
            self._start()
        paths = [str(path) for path in paths]
        request = json.dumps([paths, image_size, num_channels, *options])
        process = self._process
        try:
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            messages, dtype = json.loads(process.stdout.readline())
            shape = (len(paths), *image_size, num_channels)
            images = np.empty(shape, dtype or "uint8")
            for image, message in zip(images, messages, strict=True):
                if message is None:
                    pixels = memoryview(image.reshape(-1)).cast("B")
                    if process.stdout.readinto(pixels) < len(pixels):
                        raise EOFError
        except (OSError, EOFError, json.JSONDecodeError) as error:
            self._stop()
            self._process = None
            raise RuntimeError(
                "A process of `num_processes` ended while it read images, with code "
                f"{process.returncode}. Out of memory? Lower `num_processes`, or leave "
                "it out to decode in threads."
            ) from error
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
