"""What the headers of all files of a folder say."""

from keras_iwm.arguments import as_count
from keras_iwm.datasets.find_images import as_paths, list_images
from keras_iwm.datasets.survey_files import survey_files


def survey_folder(folder, walk, read, counted, measure, num_threads):
    """Reads the headers of all images, or clips, of a folder.

    Args:
        folder: Path of the folder.
        walk: `FolderWalk` or `ClipWalk`, for images or clips.
        read: As `survey_files` takes it.
        counted: As `survey_files` takes it.
        measure: As `survey_files` takes it.
        num_threads: Positive integer, threads that read.

    Returns:
        Tuple `(report, first, last)`: a dictionary as `check_folder` returns it, and
        the rest as `survey_files` returns it.
    """
    num_threads = as_count("num_threads", num_threads, 1, 1024)
    names, classes, left_out, lost = list_images(folder, walk=walk)
    paths, _, _ = as_paths(folder, names, classes)
    report, first, last = survey_files(paths, read, counted, measure, num_threads)
    report |= {
        f"num_{walk.kind}": len(paths),
        "classes": classes,
        "left_out": left_out,
        "lost": sorted(lost),
    }
    return report, first, last
