"""What lies where in a tar file that may come from anyone."""

import tarfile

BLOCK = 512
# Longer names are refused, before memory is taken for them.
_MAX_NAME = 2**16
# As are larger files.
MAX_SIZE = 2**30
_LONG_NAMES = (b"L", b"K", b"x", b"X")
_ABOUT_ALL = b"g"

BROKEN_OFF = "files at which their shard breaks off"
DAMAGED = "damaged headers, with all that lies behind them"


def tar_members(file, end):
    """Yields the files of a tar file, from its headers alone; nothing is extracted.

    The `tarfile` module would read a header of any size that a file tells, and stop in
    silence at a damaged one.

    Args:
        file: Binary stream, at any place.
        end: Integer, the size of the file in bytes.

    Yields:
        Tuple `(name, offset, size, problem)`: where the content of a file lies; or
        what makes it unusable, in words for several things of the kind, else `None`.
        Folders are passed over in silence.
    """
    place, long_name, problem = 0, None, None
    while place < end:
        file.seek(place)
        block = file.read(BLOCK)
        if block == bytes(BLOCK):
            return  # the mark of the end
        header = read_header(block)
        if header is None or header.size < 0:
            yield long_name or f"byte {place}", place, 0, DAMAGED
            return
        start, place = place + BLOCK, place + BLOCK
        if header.type in _LONG_NAMES or header.type == _ABOUT_ALL:
            place += padded(header.size)
            if header.type in (b"L", b"x", b"X"):
                if header.size > _MAX_NAME:
                    problem = "headers that are too large"
                else:
                    found = _read_name(header.type, file.read(header.size))
                    long_name = found or long_name
            continue
        name, found = long_name or header.name, problem
        long_name = problem = None
        if header.isdir():
            continue
        if header.isreg():
            place += padded(header.size)
        name = name.removeprefix("./")
        found = found or _problem(header, name)
        if found is None and start + header.size > end:
            found = BROKEN_OFF
        yield name, start, header.size, found


def read_header(block):
    """Returns the `tarfile.TarInfo` of a header, or `None` if it is damaged."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None


def is_outside(name):
    """Whether a name would lead out of a folder."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or "\0" in name


def _problem(header, name):
    """Returns what makes a file unusable, or `None`."""
    if header.issym() or header.islnk():
        return "links"
    if not header.isreg() or header.issparse():
        return "things that are no plain files"
    if is_outside(name):
        return "names that lead out of their shard"
    return "files of more than a gigabyte" if header.size > MAX_SIZE else None


def padded(size):
    """Returns the bytes that a content takes, whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _read_name(kind, content):
    """Returns the name in a header for a long one, or `None`."""
    if kind == b"L":
        content = content.partition(b"\0")[0]
        return content.decode("utf-8", "surrogateescape")
    while content:
        length = content.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(content):
            return None
        line, content = content[: int(length)], content[int(length) :]
        key, _, value = line[len(length) + 1 : -1].partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "surrogateescape")
    return None
