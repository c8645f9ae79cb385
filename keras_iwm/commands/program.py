"""What the programs share: options, progress, and files that are whole."""

import argparse
import json
import sys

from keras_iwm.callbacks.remaining_time import RemainingTime
from keras_iwm.whole_file import whole_file


def make_parser(name, text):
    """Return a parser of the options of `keras-iwm NAME`."""
    return argparse.ArgumentParser(
        prog=f"keras-iwm {name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def progress(is_first=True):
    """Return `verbose` for `fit`, and the callbacks that go with it.

    A terminal gets Keras's bar, with the time an epoch will take; a file a line for
    each epoch, and one a minute within. Processes behind the first one are silent.
    """
    if not is_first:
        return 0, []
    if sys.stdout.isatty():
        return 1, []
    return 2, [RemainingTime()]


def write_json(path, content):
    """Write a file that a crash leaves whole or absent."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")


def is_whole(path):
    """Whether a JSON file can be read."""
    try:
        json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return True


def save_picture(path, draw, *arguments, caption=None):
    """Draw and save a picture; without matplotlib say that it is missing."""
    from keras_iwm.visualization import save_figure

    try:
        save_figure(draw(*arguments), path, caption)
    except ImportError as error:
        print(f"{path} is not drawn: {error}", file=sys.stderr)
        return
    print(f"Drawn: {path}", flush=True)
