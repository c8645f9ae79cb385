"""The program `keras-iwm`: what is useful in a shell without writing Python."""

import argparse
import sys


def main(arguments=None):
    """Runs `keras-iwm COMMAND ...`; the process ends with what this returns.

    Args:
        arguments: Optional list of strings, by default those of the process.

    Returns:
        Integer: 0 if all is well, 1 if images were found that cannot be used, 2 if
        the folder cannot be listed.
    """
    parser = argparse.ArgumentParser(prog="keras-iwm")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="read all headers of a folder of images, and report"
    )
    check.add_argument("folder")
    check.add_argument(
        "--decode", action="store_true", help="read the files to their ends"
    )
    return _check(parser.parse_args(arguments))


def _check(arguments):
    """Prints what lies in a folder of images."""
    from keras_iwm.datasets.check_folder import check_folder, folder_report

    try:
        report = check_folder(arguments.folder, decode_pixels=arguments.decode)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for line in folder_report(report):
        # Names may hold bytes that no terminal can show.
        print(line.encode("utf-8", "backslashreplace").decode())
    return int(bool(report["bad"] or report["lost"]))
