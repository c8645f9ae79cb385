"""Pack a folder of images into tar shards, with a manifest and checksums.

    keras-iwm pack photos/ --output shards/
    keras-iwm pack photos/ --output shards/ --shard-size 500MB

The files are copied as they are, in a random order, with a label for each if there is
one folder per class. Killed, it goes on behind the last whole shard when the same
command is given again. `keras-iwm check shards/` verifies all of it, `keras-iwm
pretrain --data shards/` trains on it, and WebDataset reads the shards too.
"""

import argparse
import re
import sys

from keras_iwm.commands.program import make_parser
from keras_iwm.datasets.pack_folder import SHARD_SIZE, pack_folder

_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def main(options=None):
    """Pack, and say what was made."""
    parser = make_parser("pack", __doc__)
    add = parser.add_argument
    add("folder", help="of images, flat or one folder per class")
    add("--output", required=True, help="folder of the shards")
    add("--shard-size", type=parse_size, default=SHARD_SIZE, help="bytes, or 500MB")
    add("--seed", type=int, default=0, help="of the order")
    arguments = parser.parse_args(options)
    try:
        manifest = pack_folder(
            arguments.folder, arguments.output, arguments.shard_size, arguments.seed
        )
    except (ImportError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(
        f"{manifest['num_images']} images in {len(manifest['shards'])} shards, "
        f"{manifest['size'] / 10**6:.1f} MB, in {arguments.output}"
    )


def parse_size(text):
    """Read a number of bytes, kB, MB or GB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB|)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 500MB")
    return int(float(found[1]) * _UNITS[found[2]])
