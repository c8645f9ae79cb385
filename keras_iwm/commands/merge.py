"""Make one Keras file of a checkpoint in shards.

    keras-iwm merge runs/pretrain/checkpoints/epoch_0012 --output model.keras

The folder is one that `pretrain --sharded-checkpoints`, a `RunCheckpoint` with
`sharded=True`, or `keras_iwm.saving.save_shards` has written, on any backend and number
of devices. It is looked at as a file from a stranger is. The model has to fit the
memory of this machine; --weights-only leaves out the optimizer, which is the half.
"""

import pathlib
import sys

from keras_iwm.commands.program import make_parser
from keras_iwm.saving.load_model import load_model
from keras_iwm.whole_file import whole_file


def main(options=None):
    """Load the folder and save the file."""
    parser = make_parser("merge", __doc__)
    add = parser.add_argument
    add("folder")
    add("--output", required=True, help="ending in .keras")
    add("--weights-only", action="store_true", help="without the optimizer's state")
    arguments = parser.parse_args(options)
    output = pathlib.Path(arguments.output)
    if output.suffix != ".keras" or output.exists():
        sys.exit(f"--output {output} must end in .keras, and not be there yet")
    try:
        model = load_model(arguments.folder, compile=not arguments.weights_only)
    except ValueError as error:
        sys.exit(str(error))
    with whole_file(output) as unfinished:
        model.save(unfinished)
    print(f"{output} holds {model.count_params():,} weights")
