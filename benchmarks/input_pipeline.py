"""Images or clips per second from a folder, and how long training waits for them.

    python benchmarks/input_pipeline.py --preset iwm_small_224 --batch-size 8
    python benchmarks/input_pipeline.py --workers 1 2 4 8 --step-workers 8
    python benchmarks/input_pipeline.py --preset vjepa_tiny_64 --photo-size 160 120

Makes a temporary folder of JPEG files: random parts of the photos that scikit-image
and scikit-learn ship, enlarged or shrunk to --photo-size. For presets of video they
are MP4 files (H.264, a key frame every 2 seconds) of --video-frames frames, in which
such a part moves; a clip is every --frame-stride-th. Two tables are printed, and
written as JSON with --output:

1. The loader alone (decode, resize, batch), with threads and with processes.
2. On each backend, one epoch of `fit` from memory, with threads and with processes.
   `waiting` is the share of the epoch that passes in the call for the next batch. On
   TensorFlow, which calls ahead of time from a thread of its own, that is an upper
   bound. `extra` is how much longer the epoch takes than the same one from memory:
   where decoding and training share their cores, it is what decoding takes from them.
   On a fast accelerator give --batch-size and --step-images as in a real run.

All take turns, one block at a time, so that a noisy machine disturbs them alike;
medians over the blocks are shown.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import turns


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=int, default=512, help="files in the folder")
    add("--video-frames", type=int, default=100, help="25 a second")
    add("--frame-stride", type=int, default=4, help="of the clips")
    add("--photo-size", type=int, nargs=2, default=(500, 375), help="width, height")
    add("--preset", default="iwm_small_224")
    add("--batch-size", type=int, default=8)
    add("--workers", type=int, nargs="+", default=[1, 2], help="of the loader alone")
    add("--step-workers", type=int, default=1, help="threads or processes during fit")
    add("--step-images", type=int, default=32, help="images in an epoch of fit")
    add("--blocks", type=int, default=3, help="turns of each kind")
    add("--backends", nargs="*", choices=turns.BACKENDS, default=turns.BACKENDS)
    add("--output", help="path of the JSON file")
    add("--folder", help=argparse.SUPPRESS)  # makes this process a worker
    return parser.parse_args()


def make_folder(folder, count, arguments):
    """Write `count` files of this width and height, random parts of photos."""
    import numpy as np
    from PIL import Image

    from keras_iwm.backbones import PRESETS
    from keras_iwm.datasets import load_sample_photos

    os.mkdir(folder)
    size = tuple(arguments.photo_size)
    if "num_frames" in PRESETS[arguments.preset]:
        size = tuple(side - side % 2 for side in size)  # as H.264 has it
    photos = [Image.fromarray(photo) for photo in load_sample_photos().values()]
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        largest = min(photo.width / size[0], photo.height / size[1])
        scale = largest * rng.uniform(0.6, 1.0)
        width, height = scale * size[0], scale * size[1]
        room = np.array([photo.width - width, photo.height - height])

        def cut(place, photo=photo, room=room, extent=(width, height)):
            left, top = place * room
            box = (left, top, left + extent[0], top + extent[1])
            return photo.resize(size, Image.Resampling.BICUBIC, box=box)

        if "num_frames" in PRESETS[arguments.preset]:
            ends = rng.uniform(size=(2, 2))
            shares = np.linspace(0, 1, arguments.video_frames)[:, None]
            frames = (cut(place) for place in ends[0] + shares * (ends[1] - ends[0]))
            save_video(f"{folder}/{number:05d}.mp4", frames, size)
        else:
            cut(rng.uniform(size=2)).save(f"{folder}/{number:05d}.jpg", quality=90)


def save_video(path, frames, size):
    """Write a video of 25 frames a second."""
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 50
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def open_folder(folder, arguments, kind, workers):
    """Return the dataset of a kind, `threads` or `processes`."""
    from keras_iwm.backbones import PRESETS
    from keras_iwm.datasets import ClipFolder, ImageFolder

    size = PRESETS[arguments.preset]
    options = {"batch_size": arguments.batch_size, f"num_{kind}": workers}
    if "num_frames" in size:
        window = size["num_frames"], arguments.frame_stride
        return ClipFolder(folder, size["image_size"], *window, **options)
    return ImageFolder(folder, size["image_size"], **options)


def measure_loader(arguments, folder):
    """Return samples per second of the loader alone, by kind and number of workers."""
    rates = {
        (kind, workers): []
        for workers in arguments.workers
        for kind in ("threads", "processes")
    }
    for _ in range(arguments.blocks):
        for (kind, workers), measured in rates.items():
            dataset = open_folder(folder, arguments, kind, workers)
            dataset[0]  # the processes have started
            dataset.epoch = 1  # none of whose batches has been prepared
            start = time.perf_counter()
            for index in range(len(dataset)):
                dataset[index]
            seconds = time.perf_counter() - start
            measured.append(len(dataset) * arguments.batch_size / seconds)
            del dataset
            gc.collect()
    return rates


def work(arguments):
    """Run an epoch for each line, which names a kind; answer with seconds and waits."""
    import keras_iwm

    method = keras_iwm.models.method_of(arguments.preset)
    model = method.from_preset(arguments.preset, load_weights=False, seed=0)
    model.compile(keras_iwm.optimizers.AdamW(1e-4, weight_decay=0.04))
    datasets = {
        kind: open_folder(arguments.folder, arguments, kind, arguments.step_workers)
        for kind in ("threads", "processes")
    }
    images, _ = datasets["threads"].load()
    in_memory = keras_iwm.datasets.ImageArray
    if method.takes_clips:
        in_memory = keras_iwm.datasets.ClipArray
    datasets["memory"] = in_memory(images, batch_size=arguments.batch_size)
    waited = [0.0]
    # The step compiles, and every dataset starts its workers.
    for dataset in datasets.values():
        dataset.load_batch = timed(dataset.load_batch, waited)
        model.fit(dataset, verbose=0)
    print("answer", flush=True)
    for line in sys.stdin:
        dataset = datasets[line.strip()]
        # As after an epoch that has just ended, one batch is there and no more.
        dataset.epoch += 2
        dataset[0]
        waited[0] = 0.0
        start = time.perf_counter()
        model.fit(dataset, verbose=0)
        seconds = time.perf_counter() - start
        print("answer", seconds, waited[0], len(dataset), flush=True)


def timed(function, seconds):
    """Return `function` that adds the seconds it takes to `seconds[0]`."""

    def wrapper(*args):
        start = time.perf_counter()
        result = function(*args)
        seconds[0] += time.perf_counter() - start
        return result

    return wrapper


def answer_of(process):
    """Wait for a worker's next answer."""
    for line in process.stdout:
        if line.startswith("answer"):
            return [float(number) for number in line.split()[1:]]
    raise RuntimeError("A worker stopped; its error is above.")


def measure_training(arguments, folder):
    """Return the answers of a worker on each backend, by kind of dataset."""
    workers = {}
    for backend in turns.installed(arguments.backends):
        workers[backend] = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--folder", folder],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer_of(workers[backend])
    answers = {
        (backend, kind): []
        for backend in workers
        for kind in ("memory", "threads", "processes")
    }
    for _ in range(arguments.blocks):
        for (backend, kind), measured in answers.items():
            workers[backend].stdin.write(kind + "\n")
            workers[backend].stdin.flush()
            measured.append(answer_of(workers[backend]))
    for process in workers.values():
        process.stdin.close()
        process.wait()
    return answers


def main():
    """Make the folder, measure, and report."""
    arguments = parse_arguments()
    if arguments.folder:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = [os.path.join(folder, part) for part in ("loader", "training")]
        counts = (arguments.images, arguments.step_images)
        for part, count in zip(parts, counts, strict=True):
            make_folder(part, count, arguments)
        rates = measure_loader(arguments, parts[0])
        answers = measure_training(arguments, parts[1])
    from keras_iwm.backbones import PRESETS

    width, height = arguments.photo_size
    kind = "MP4" if "num_frames" in PRESETS[arguments.preset] else "JPEG"
    print(
        f"\n{kind} of {width} x {height} for {arguments.preset}, {os.cpu_count()} cores"
    )
    print("workers   samples/s: threads  processes")
    loader = []
    for workers in arguments.workers:
        blocks = {kind: rates[kind, workers] for kind in ("threads", "processes")}
        medians = {kind: statistics.median(part) for kind, part in blocks.items()}
        loader.append({"workers": workers, **medians, "blocks": blocks})
        print(f"{workers:7d} {medians['threads']:18.1f} {medians['processes']:10.1f}")
    training = []
    if answers:
        print(f"\nfit, batch {arguments.batch_size}, {arguments.step_workers} workers")
        print("backend     samples from seconds/step  waiting  extra")
    for (backend, kind), measured in answers.items():
        seconds = [epoch / steps for epoch, _, steps in measured]
        waiting = statistics.median(wait / epoch for epoch, wait, _ in measured)
        memory = [epoch / steps for epoch, _, steps in answers[backend, "memory"]]
        extra = statistics.median(
            mine / plain - 1 for mine, plain in zip(seconds, memory, strict=True)
        )
        training.append(
            {
                "backend": backend,
                "samples_from": kind,
                "seconds_per_step": statistics.median(seconds),
                "waiting": waiting,
                "extra": extra,
                "blocks": measured,
            }
        )
        print(
            f"{backend:11s} {kind:11s} {statistics.median(seconds):13.3f} "
            f"{waiting:8.1%} {extra:6.1%}"
        )
    if arguments.output:
        results = {"loader": loader, "training": training}
        with open(arguments.output, "w") as file:
            json.dump({**vars(arguments), **results}, file, indent=2)


if __name__ == "__main__":
    main()
