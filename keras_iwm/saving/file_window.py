"""A part of a file as a file."""

import io


class FileWindow(io.RawIOBase):
    """Read a part of an open file as if it were a file, without a copy of it.

    Args:
        file: Binary file that can seek.
        start: Integer, where the part begins.
        size: Integer, its bytes.
    """

    def __init__(self, file, start, size):
        self.file = file
        self.start = start
        self.size = size
        self.position = 0

    def readable(self):
        """Return that it can be read."""
        return True

    def seekable(self):
        """Return that it can seek."""
        return True

    def tell(self):
        """Return where the next read begins."""
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        """Set where the next read begins."""
        self.position = offset + {0: 0, 1: self.position, 2: self.size}[whence]
        return self.position

    def readinto(self, buffer):
        """Fill a buffer as far as the part reaches."""
        count = max(0, min(len(buffer), self.size - self.position))
        self.file.seek(self.start + self.position)
        count = self.file.readinto(memoryview(buffer)[:count])
        self.position += count
        return count
