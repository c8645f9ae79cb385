"""Pack a folder of images into tar shards, with a manifest and checksums.

    keras-iwm pack photos/ --output shards/
    keras-iwm pack photos/ --output shards/ --shard-size 500MB
    keras-iwm pack train.parquet --output shards/  # as of the Hugging Face Hub

The files are copied as they are, in a random order, with a label for each if there is
one folder per class, or a column of labels in Parquet. Killed, it goes on behind the
last whole shard when the same command is given again. `keras-iwm check shards/`
verifies all of it, `keras-iwm pretrain --data shards/` trains on it, and WebDataset
reads the shards too.
"""

import argparse
import pathlib
import re
import sys

from keras_iwm.commands.program import make_parser
from keras_iwm.datasets.pack_folder import pack_folder
from keras_iwm.datasets.pack_parquet import pack_parquet
from keras_iwm.datasets.write_shards import SHARD_SIZE

_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def main(options=None):
    """Pack, and say what was made."""
    parser = make_parser("pack", __doc__)
    add = parser.add_argument
    add("folder", help="of images, flat or one folder per class; or of Parquet files")
    add("--output", required=True, help="folder of the shards")
    add("--shard-size", type=parse_size, default=SHARD_SIZE, help="bytes, or 500MB")
    add("--seed", type=int, default=0, help="of the order")
    add("--image-column", help="of Parquet, by default the only one with images")
    add("--label-column", help="of Parquet, by default label or labels")
    arguments = parser.parse_args(options)
    places = arguments.folder, arguments.output, arguments.shard_size, arguments.seed
    columns = arguments.image_column, arguments.label_column
    try:
        if holds_parquet(arguments.folder) or any(columns):
            manifest = pack_parquet(*places, *columns)
        else:
            manifest = pack_folder(*places)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(
        f"{manifest['num_images']} images in {len(manifest['shards'])} shards, "
        f"{manifest['size'] / 10**6:.1f} MB, in {arguments.output}"
    )


def holds_parquet(path):
    """Whether this is a Parquet file, or a folder with some in it."""
    path = pathlib.Path(path)
    return path.suffix == ".parquet" or any(path.glob("*.parquet"))


def parse_size(text):
    """Read a number of bytes, kB, MB or GB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB|)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 500MB")
    return int(float(found[1]) * _UNITS[found[2]])
