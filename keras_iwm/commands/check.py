"""Read all headers of a folder of images, and report.

    keras-iwm check photos/ --decode

It ends with status 1 if images were found that cannot be used, 2 if the folder cannot
be listed.
"""

import sys

from keras_iwm.commands.program import make_parser
from keras_iwm.datasets.check_folder import check_folder, folder_report


def main(options=None):
    """Print what lies in a folder of images."""
    parser = make_parser("check", __doc__)
    parser.add_argument("folder")
    parser.add_argument(
        "--decode", action="store_true", help="read the files to their ends"
    )
    arguments = parser.parse_args(options)
    try:
        report = check_folder(arguments.folder, decode_pixels=arguments.decode)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for line in folder_report(report):
        # Names may hold bytes that no terminal can show.
        print(line.encode("utf-8", "backslashreplace").decode())
    return int(bool(report["bad"] or report["lost"]))
