"""What changes if a byte of a file does."""

import hashlib

_CHUNK = 2**20


def file_checksum(store, name):
    """Returns the SHA-256 of a file in a store, in hexadecimals."""
    digest = hashlib.sha256()
    with store.open(name) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
