"""Write the features of all images of a folder into one file.

    keras-iwm embed photos/ --model runs/pretrain/model.keras --output embeddings.npz
    keras-iwm embed photos/ --model encoder.keras --output patches.parquet --per-patch

The file has a row for each image, with its name below the folder and, if there is a
folder for each class, its class. `keras-iwm search` finds images in it; NumPy reads an
`.npz` file, and whatever reads Parquet the other kind (needs pyarrow).

Memory hardly grows with the folder. Killed, it goes on where it was when
the same command is given again. Files that cannot be used have no row: they are listed
beside the output, in `embeddings.npz.skipped.csv`.
"""

import pathlib
import sys

from keras_iwm.commands.find_encoder import find_encoder
from keras_iwm.commands.program import make_parser
from keras_iwm.embeddings.embed_folder import embed_folder


def parse_arguments(options):
    """Read the command line."""
    parser = make_parser("embed", __doc__)
    add = parser.add_argument
    add("folder", help="of images, flat or one folder per class")
    add(
        "--model",
        required=True,
        help=".keras file of a world model or an encoder, folder of a run, or preset",
    )
    add("--output", required=True, help="ending in .npz or .parquet")
    add("--per-patch", action="store_true", help="all patches, instead of their mean")
    add("--batch-size", type=int, default=64)
    add(
        "--dtype", choices=("float32", "float16"), default="float32", help="in the file"
    )
    add("--bad-files", choices=("skip", "raise"), default="skip")
    add("--reader-processes", type=int, default=0, help="read files in so many")
    return parser.parse_args(options)


def main(options=None):
    """Embed, and say what was left out."""
    arguments = parse_arguments(options)
    if pathlib.Path(arguments.output).exists():
        sys.exit(
            f"{arguments.output} is there already: delete it, or take another name"
        )
    try:
        found = embed_folder(
            find_encoder(arguments.model),
            arguments.folder,
            arguments.output,
            arguments.per_patch,
            arguments.batch_size,
            arguments.dtype,
            arguments.bad_files,
            arguments.reader_processes,
            encoder_name=arguments.model,
        )
    except (ImportError, ValueError) as error:
        sys.exit(str(error))
    print(f"{found['num_images']} images in {arguments.output}")
    if found["skipped"]:
        print(
            f"{len(found['skipped'])} files could not be used: they are listed in "
            f"{arguments.output}.skipped.csv"
        )
