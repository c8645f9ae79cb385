"""Images per second from tar shards, beside the folder that they were packed of.

    python benchmarks/shards.py --images 2000 --shard-size 20000000
    python benchmarks/shards.py --workers 1 2 --folder photos/ --cold

Makes a temporary folder of JPEG files, as input_pipeline.py does, or takes --folder,
packs it, and reads one epoch of both by turns, with threads and with processes. With
--cold the system forgets the files before each epoch, so that they come from the disk.
`reading` is the same without decoding: the bytes of all images in the order of an
epoch, in one thread. Medians over the blocks are shown.
"""

import argparse
import gc
import json
import os
import pathlib
import statistics
import tempfile
import time

import input_pipeline


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=int, default=2000, help="files in the folder")
    add("--photo-size", type=int, nargs=2, default=(500, 375), help="width, height")
    add("--preset", default="iwm_small_224")
    add("--batch-size", type=int, default=50)
    add("--shard-size", type=int, default=20_000_000, help="bytes")
    add("--workers", type=int, nargs="+", default=[1, 2])
    add("--blocks", type=int, default=3, help="turns of each kind")
    add("--folder", help="of images to pack, in place of those that are made")
    add("--cold", action="store_true", help="read from the disk")
    add("--output", help="path of the JSON file")
    return parser.parse_args()


def forget(folder):
    """Let the system drop what it holds of the files in memory."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def open_dataset(place, arguments, kind="threads", workers=1):
    """Return the folder or the shards."""
    from keras_iwm.backbones import PRESETS
    from keras_iwm.datasets.open_images import open_images

    options = {"batch_size": arguments.batch_size, f"num_{kind}": workers}
    return open_images(place, PRESETS[arguments.preset]["image_size"], **options)


def epoch_rate(dataset, num_images):
    """Return images per second of an epoch."""
    start = time.perf_counter()
    for index in range(len(dataset)):
        dataset[index]
    return num_images / (time.perf_counter() - start)


def reading_rate(dataset):
    """Return images per second of reading the bytes alone."""
    start = time.perf_counter()
    for index in range(len(dataset)):
        indices = dataset.batch_indices(index)
        if hasattr(dataset.paths, "read"):
            dataset.paths.read(indices)
        else:
            for row in indices:
                dataset.paths[row].read_bytes()
    return dataset.num_samples / (time.perf_counter() - start)


def measure(arguments, places):
    """Return rates by kind of reading and place, a list of blocks each."""
    kinds = [("reading", 1)] + [
        (kind, workers)
        for workers in arguments.workers
        for kind in ("threads", "processes")
    ]
    rates = {(*kind, name): [] for kind in kinds for name in places}
    for _ in range(arguments.blocks):
        for (kind, workers, name), measured in rates.items():
            reading = kind == "reading"
            options = () if reading else (kind, workers)
            dataset = open_dataset(places[name], arguments, *options)
            if not reading:
                dataset[0]  # the processes have started
                dataset.epoch = 1
            if arguments.cold:
                forget(places[name])
            whole = len(dataset) * arguments.batch_size
            rate = reading_rate(dataset) if reading else epoch_rate(dataset, whole)
            measured.append(rate)
            del dataset
            gc.collect()
    return rates


def main():
    """Make the folder, pack it, measure, and report."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as root:
        folder = arguments.folder or os.path.join(root, "folder")
        if not arguments.folder:
            input_pipeline.make_folder(folder, arguments.images, arguments)
        from keras_iwm.datasets import pack_folder

        shards = os.path.join(root, "shards")
        start = time.perf_counter()
        manifest = pack_folder(folder, shards, arguments.shard_size)
        packing = manifest["num_images"] / (time.perf_counter() - start)
        opened = {}
        places = {"folder": folder, "shards": shards}
        for name, place in places.items():
            start = time.perf_counter()
            open_dataset(place, arguments)
            opened[name] = time.perf_counter() - start
        rates = measure(arguments, places)
    print(
        f"\n{manifest['num_images']} images, {manifest['size'] / 1e6:.0f} MB in "
        f"{len(manifest['shards'])} shards, {os.cpu_count()} cores"
        f"{', from the disk' if arguments.cold else ''}"
    )
    print(f"packing: {packing:.0f} images/s")
    print("opening: " + ", ".join(f"{k} {v:.3f} s" for k, v in opened.items()))
    print("read by     workers   images/s: folder     shards   shards/folder")
    results = []
    for kind, workers in dict.fromkeys(key[:2] for key in rates):
        blocks = {name: rates[kind, workers, name] for name in places}
        medians = {name: statistics.median(part) for name, part in blocks.items()}
        ratio = statistics.median(
            two / one for one, two in zip(*blocks.values(), strict=True)
        )
        results.append({"kind": kind, "workers": workers, "blocks": blocks})
        print(
            f"{kind:11s} {workers:7d} {medians['folder']:18.1f} "
            f"{medians['shards']:10.1f} {ratio:10.2f}"
        )
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump({**vars(arguments), "opened": opened, "rates": results}, file)


if __name__ == "__main__":
    main()
