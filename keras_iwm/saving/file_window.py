"""A part of a file as a file."""

import io

LOCAL_HEADER = 30  # bytes of a member's header before its name


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


def archive_member(file, archive, name):
    """Return a member of a zip archive that is stored as it is, as a `FileWindow`.

    Args:
        file: Binary file.
        archive: `zipfile.ZipFile` of that file.
        name: String, the member's name.
    """
    member = archive.getinfo(name)
    file.seek(member.header_offset + LOCAL_HEADER - 4)
    lengths = file.read(4)  # of the name and of what may follow it
    start = member.header_offset + LOCAL_HEADER
    start += sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
    return FileWindow(file, start, member.file_size)
