"""Frames a second that `MovingPhotos` renders, on one core.

    python benchmarks/moving_photos.py
    python benchmarks/moving_photos.py --image-sizes 64 224 --num-sprites 0 1 4

The sizes and numbers of sprites take turns; median, lowest and highest block are shown,
and written as JSON with --output. Seconds are those of the process, so that others on
the machine disturb little. A batch is drawn and rendered, as an epoch of `fit` does.
"""

import argparse
import statistics
import time

import turns

from keras_iwm.datasets import MovingPhotos


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--image-sizes", type=int, nargs="+", default=[32, 64, 224])
    add("--num-sprites", type=int, nargs="+", default=[0, 1, 4])
    add("--num-frames", type=int, default=8)
    add("--batch-size", type=int, default=16)
    add("--blocks", type=int, default=5, help="turns of each kind, a batch each")
    add("--output", help="path of the JSON file")
    options = parser.parse_args()
    makers = {
        (size, count): MovingPhotos(
            image_size=size,
            num_frames=options.num_frames,
            batch_size=options.batch_size,
            num_sprites=count,
        )
        for size in options.image_sizes
        for count in options.num_sprites
    }
    rates = {kind: [] for kind in makers}
    for block in range(options.blocks):
        for kind, maker in makers.items():
            start = time.process_time()
            frames, _ = maker[block]
            seconds = time.process_time() - start
            rates[kind].append(frames.shape[0] * frames.shape[1] / seconds)
    results = []
    for (size, count), found in rates.items():
        summary = {
            "median": statistics.median(found),
            "lowest": min(found),
            "highest": max(found),
        }
        results.append({"image_size": size, "num_sprites": count, **summary})
        print(
            f"{size} px, {count} sprites: {summary['median']:,.0f} frames a second "
            f"({summary['lowest']:,.0f}, {summary['highest']:,.0f})"
        )
    turns.write(options.output, {"frames_a_second": results})


if __name__ == "__main__":
    main()
