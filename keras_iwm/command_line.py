"""The program `keras-iwm`: what is useful in a shell without writing Python."""

import argparse
import importlib
import os
import sys

import keras

COMMANDS = {
    "check": "read all headers of a folder of images, or of shards, and report",
    "pack": "pack a folder of images into tar shards",
    "pretrain": "pretrain a world model on your own images",
    "estimate": "say how long a run takes, how much memory, and what bounds it",
    "compare": "compare methods of pretraining at equal compute",
    "evaluate": "measure what a world model knows of actions",
    "intervene": "see whether a world model uses what probes find in its latents",
    "finetune-predictor": "compare the ways from a world model to a classifier",
    "merge": "make one Keras file of a checkpoint in shards",
    "embed": "write the features of a folder's images into one file",
    "search": "find the images of such a file that are most like one",
}


def main(arguments=None):
    """Runs `keras-iwm COMMAND ...`; the process ends with what this returns.

    Args:
        arguments: Optional list of strings, by default those of the process.

    Returns:
        What the command returns: an integer, or `None` for 0.
    """
    # Keras imports TensorFlow beside another backend, and it talks of its own matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    width = max(map(len, COMMANDS)) + 2
    parser = argparse.ArgumentParser(
        prog="keras-iwm",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Image world models in Keras 3. Commands:\n\n"
        + "\n".join(f"  {name:{width}}{words}" for name, words in COMMANDS.items()),
        epilog="`keras-iwm COMMAND --help` tells more. KERAS_BACKEND chooses the "
        "backend: jax, tensorflow or torch.",
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...")
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help(sys.stderr)
        return 2
    chosen = parser.parse_args(arguments)
    if chosen.command not in ("check", "pack"):
        print(f"Backend: {keras.backend.backend()}", file=sys.stderr)
    name = chosen.command.replace("-", "_")
    return importlib.import_module(f"keras_iwm.commands.{name}").main(chosen.options)
