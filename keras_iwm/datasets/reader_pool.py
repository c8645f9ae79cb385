"""Threads or processes that read image files, or clips."""

import concurrent.futures
import queue

import numpy as np

from keras_iwm.arguments import as_count, as_size
from keras_iwm.datasets.image_reader import ImageReader, sample_shape
from keras_iwm.datasets.read_files import read_files


class ReaderPool:
    """Threads that read files, by themselves or each through a process.

    Copies and pickles of it make threads and processes of their own.

    Args:
        image_size: Integer or pair of integers, `(height, width)`.
        num_channels: Positive integer.
        background: Integer from 0 to 255, as in `read_files`.
        max_pixels: Positive integer, as in `read_files`.
        num_threads: Positive integer, used without processes.
        num_processes: Non-negative integer.
    """

    def __init__(
        self,
        image_size,
        num_channels,
        background,
        max_pixels,
        num_threads,
        num_processes,
    ):
        self.image_size = as_size("image_size", image_size)
        self.num_channels = as_count("num_channels", num_channels)
        self.background = as_count("background", background, 0, 255)
        self.max_pixels = as_count("max_pixels", max_pixels)
        self.num_processes = as_count("num_processes", num_processes, 0, 1024)
        num_threads = as_count("num_threads", num_threads, 1, 1024)
        # With processes, a thread sends a request to one of them and waits for it.
        self.num_workers = self.num_processes or num_threads
        self._make_workers()

    def _make_workers(self):
        """Makes what reads; threads and processes start when they are needed."""
        self.threads = concurrent.futures.ThreadPoolExecutor(self.num_workers)
        self.idle_readers = queue.SimpleQueue()
        for _ in range(self.num_processes):
            self.idle_readers.put(ImageReader())

    def __getstate__(self):
        """Returns what a copy or a pickle holds: all but what reads."""
        state = vars(self).copy()
        del state["threads"], state["idle_readers"]
        return state

    def __setstate__(self, state):
        """Makes a copy, or what was pickled, able to read."""
        vars(self).update(state)
        self._make_workers()

    def read(self, paths, dtype=None, windows=None):
        """Returns images in one array, messages and dtype, as `ImageReader` does.

        Called from several threads at a time; with processes best from `threads`.
        """
        arguments = (
            paths,
            self.image_size,
            self.num_channels,
            self.background,
            self.max_pixels,
            dtype,
            windows,
        )
        if self.num_processes:
            reader = self.idle_readers.get()
            try:
                return reader.read(*arguments)
            finally:
                self.idle_readers.put(reader)
        read, messages, dtype = read_files(*arguments)
        shape = sample_shape(self.image_size, self.num_channels, windows)
        images = np.empty((len(paths), *shape), dtype or "uint8")
        for row, image in enumerate(read):
            if image is not None:
                images[row] = np.asarray(image).reshape(shape)
        return images, messages, dtype
