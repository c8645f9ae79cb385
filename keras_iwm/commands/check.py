"""Read all headers of a folder of images, of clips or of shards, and report.

    keras-iwm check photos/ --decode
    keras-iwm check clips/ --num-frames 16 --frame-stride 4
    keras-iwm check shards/

With --num-frames it is a folder of clips, videos or folders of frames, of which each
needs so many frames. Shards, tar files in a folder or behind a URL, are verified
against the checksums that `keras-iwm pack` wrote. It ends with status 1 if images,
clips or shards were found that cannot be used, 2 if the folder cannot be listed.
"""

import sys

from keras_iwm.commands.program import make_parser
from keras_iwm.datasets.check_clip_folder import check_clip_folder
from keras_iwm.datasets.check_folder import check_folder
from keras_iwm.datasets.check_shards import check_shards
from keras_iwm.datasets.folder_report import folder_report
from keras_iwm.datasets.open_images import is_shards


def main(options=None):
    """Print what lies in a folder of images, clips or shards."""
    parser = make_parser("check", __doc__)
    add = parser.add_argument
    add("folder", help="or the URL of shards")
    add("--decode", action="store_true", help="read the files to their ends")
    add("--num-frames", type=int, help="of a clip; the folder is one of clips")
    add("--frame-stride", type=int, default=1, help="1 for neighbouring frames")
    arguments = parser.parse_args(options)
    decode = {"decode_pixels": arguments.decode}
    try:
        if arguments.num_frames is not None:
            window = arguments.num_frames, arguments.frame_stride
            report = check_clip_folder(arguments.folder, *window, **decode)
        elif is_shards(arguments.folder):
            report = check_shards(arguments.folder, **decode)
        else:
            report = check_folder(arguments.folder, **decode)
    except (ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for line in folder_report(report):
        # Names may hold bytes that no terminal can show.
        print(line.encode("utf-8", "backslashreplace").decode())
    return int(any(report.get(name) for name in ("bad", "lost", "bad_shards")))
