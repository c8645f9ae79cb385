"""What `keras-iwm pretrain` learns from, images or clips, and is measured on."""

import pathlib

import keras
import numpy as np

from keras_iwm import backbones, datasets, models
from keras_iwm.commands.pretraining_options import model_settings
from keras_iwm.datasets.open_images import open_images
from keras_iwm.datasets.open_store import is_url

MEMORY_LIMIT = 2**30  # bytes of pixels up to which a folder is read at once
NUM_PROBED = 10_000  # images of a folder on which probes are fitted


def load_data(arguments, image_size, process=0):
    """Return the dataset, images of it for probes, and held-out images, with labels.

    Args:
        arguments: Namespace of the program's options.
        image_size: Pair of integers.
        process: Integer, which of several processes asks.
    """
    data, batch_size, seed = arguments.data, arguments.batch_size, arguments.seed
    if models.method_of(arguments.preset).takes_clips:
        return load_clips(arguments, image_size, process)
    if (is_url(data) or pathlib.Path(data).is_dir()) and not arguments.limit:
        return load_folder(arguments, image_size, process)
    if data == "cifar10":
        (images, labels), held_out = keras.datasets.cifar10.load_data()
        labels, held_out = labels[:, 0], (held_out[0], held_out[1][:, 0])
        chosen = np.random.default_rng(seed).permutation(len(images))
        images, labels = (part[chosen[: arguments.limit]] for part in (images, labels))
    else:
        images, labels = datasets.load_images(data, image_size, arguments.limit, seed)
        if not arguments.eval_data:  # they are in random order
            count = max(2, len(images) // 10)
            held_out = images[:count], None if labels is None else labels[:count]
            images = images[count:]
            labels = None if labels is None else labels[count:]
    if arguments.eval_data:
        held_out = load_held_out(arguments, image_size)
    held_out = tuple(
        None if part is None else part[: arguments.eval_limit] for part in held_out
    )
    dataset = datasets.ImageArray(images, batch_size=batch_size, seed=seed)
    return dataset, (images, labels), held_out


def load_held_out(arguments, image_size):
    """Return the images of `--eval-data` and their labels."""
    return datasets.load_images(
        arguments.eval_data, image_size, arguments.eval_limit, arguments.seed
    )


def load_folder(arguments, image_size, process):
    """Read a folder or shards: at once, or while training, with some for probes.

    Its list is kept beside the run, and names decide who is held out: what comes or
    goes in the folder takes no held-out image into training.
    """
    draws, options = np.random.default_rng, folder_options(arguments, process)
    folder = open_images(arguments.data, image_size, **options)
    if arguments.eval_data:
        held_out = load_held_out(arguments, image_size)
    else:
        folder, other = folder.split(0.1, seed=arguments.seed)
        chosen = draws(arguments.seed).permutation(other.num_samples)
        held_out = other.load(chosen[: arguments.eval_limit])
    if folder.num_samples * np.prod(image_size) * 3 > MEMORY_LIMIT:
        chosen = draws(arguments.seed).permutation(folder.num_samples)
        return folder, folder.load(chosen[:NUM_PROBED]), held_out
    images, labels = folder.load()
    dataset = datasets.ImageArray(
        images, batch_size=arguments.batch_size, seed=arguments.seed
    )
    return dataset, (images, labels), held_out


def load_clips(arguments, image_size, process):
    """Read a folder of clips while training, with a sample of it for probes.

    Its list is kept, and videos are held out, as `load_folder` does.
    """
    size = backbones.PRESETS[arguments.preset]["num_frames"]
    num_frames = model_settings(arguments).get("num_frames", size)
    count = MEMORY_LIMIT // (num_frames * np.prod(image_size) * 3)

    def load_some(folder, limit):
        order = np.random.default_rng(arguments.seed).permutation(folder.num_samples)
        return folder.load(order[: min(limit, count)])

    def open_folder(path, **options):
        window = num_frames, arguments.frame_stride
        return datasets.ClipFolder(path, image_size, *window, **options)

    folder = open_folder(
        arguments.data,
        clips_per_video=arguments.clips_per_video,
        **folder_options(arguments, process),
    )
    if arguments.eval_data:
        held_out = open_folder(arguments.eval_data, batch_size=1)
    else:
        folder, held_out = folder.split(0.1, seed=arguments.seed)
    return (
        folder,
        load_some(folder, NUM_PROBED),
        load_some(held_out, arguments.eval_limit),
    )


def folder_options(arguments, process):
    """Return how a run reads its folder, and what it keeps beside its files."""
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    return {
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "num_processes": arguments.reader_processes,
        "skipped_csv": output / f"skipped{f'_{process}' * bool(process)}.csv",
        "index": output / "files.index",
    }
