"""The encoder that a command line names."""

import pathlib
import sys

from keras_iwm.saving.load_encoder import load_encoder


def find_encoder(name):
    """Load an encoder by the path of a `.keras` file, or end with what is wrong."""
    if not pathlib.Path(name).is_file():
        sys.exit(f"{name}: there is no such file")
    try:
        return load_encoder(name)
    except ValueError as error:
        sys.exit(str(error))
