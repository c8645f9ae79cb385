"""Reads many damaged image files: none may crash, hang, or take memory for good.

    python benchmarks/fuzz_files.py --files 10000 --seed 0

Small files of each kind that is read are damaged at random: bits flipped, bytes
overwritten by extreme numbers, cut off, cut out, doubled, spliced with another file. A
process of `ImageFolder` reads them one by one. For each the answer must be an image or
a message that names the file, within --seconds. Printed, and written as JSON with
--output: how many were read or refused, the slowest, how many ended the process or hung
it, and the process's memory after a tenth of the files and at the end.

The suite runs a short form of this, `tests/datasets/test_damaged_files.py`.
"""

import argparse
import collections
import io
import json
import pathlib
import tempfile
import threading
import time
import warnings

import numpy as np
from PIL import Image
from tqdm import tqdm

from keras_iwm.datasets.image_reader import ImageReader

CHANNELS = (1, 3, 3, 4, 12)


def make_files(rng):
    """Return small whole files: a list of (suffix, bytes)."""
    import tifffile

    colours = np.kron(rng.integers(0, 256, (6, 8, 4)), np.ones((8, 8, 1)))
    colours = colours.astype("uint8")
    rgba, rgb = Image.fromarray(colours), Image.fromarray(colours[..., :3])
    grey, palette = rgb.convert("L"), rgb.quantize(16)
    deep = Image.fromarray(colours[..., 0].astype("uint16") * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    files = []

    def add(suffix, image, **options):
        buffer = io.BytesIO()
        image.save(buffer, Image.registered_extensions()[suffix], **options)
        files.append((suffix, buffer.getvalue()))

    Image.init()
    add(".jpg", rgb, exif=exif)
    add(".jpg", rgb, progressive=True)
    add(".jpg", grey)
    add(".jpg", rgb.convert("CMYK"))
    for image in (rgb, rgba, grey, deep, rgb.convert("1"), rgba.convert("LA")):
        add(".png", image)
    add(".png", palette, transparency=bytes(range(0, 160, 10)))
    add(".png", rgb, **frames)
    add(".gif", palette, transparency=3)
    add(".gif", rgb, **frames)
    add(".webp", rgb)
    add(".webp", rgba, lossless=True)
    add(".webp", rgb, **frames)
    add(".bmp", rgb)
    add(".bmp", palette)
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        add(".tif", rgb, compression=compression)
    add(".tiff", deep)
    if ".avif" in Image.registered_extensions():
        add(".avif", rgb)
    bands = np.moveaxis(np.concatenate([colours] * 3, axis=-1), -1, 0)
    for array in (bands, bands.astype("uint16"), bands[0].astype("float32")):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric="minisblack", compression="zlib")
        files.append((".tif", buffer.getvalue()))
    for array in (colours[..., :3], colours.astype("float32")):
        buffer = io.BytesIO()
        np.save(buffer, array)
        files.append((".npy", buffer.getvalue()))
    return files


def damage(content, other, rng):
    """Return a file's bytes, damaged in one or two ways."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        # Some of the damage is done to the header, where it matters most.
        length = max(len(content), 1)
        place = int(rng.integers(min(length, 200) if rng.random() < 0.3 else length))
        size = int(rng.integers(1, 20))
        kind = rng.integers(7)
        if kind == 0:  # flipped bits
            for position in rng.integers(place, place + 200, size):
                if position < len(content):
                    content[position] ^= 1 << int(rng.integers(8))
        elif kind == 1:  # a number of 4 bytes
            number = (0, 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)[rng.integers(7)]
            order = ("big", "little")[rng.integers(2)]
            content[place : place + 4] = number.to_bytes(4, order)
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            del content[place : place + size]
        elif kind == 4:  # doubled
            content[place:place] = content[place : place + 8 * size]
        elif kind == 5:  # noise
            content[place : place + size] = rng.bytes(size)
        else:  # the end of another file
            content[place:] = other[place:]
    return bytes(content)


def memory(reader):
    """Return the memory that the process of a reader has now, in MB (Linux)."""
    path = pathlib.Path(f"/proc/{reader._process.pid}/status")
    if not path.exists():
        return float("nan")
    line = next(s for s in path.read_text().splitlines() if s.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def fuzz(num_files, seed=0, seconds=20.0):
    """Read damaged files; return a dictionary of what came of them."""
    rng = np.random.default_rng(seed)
    files = make_files(rng)
    reader, counts, slowest = ImageReader(), collections.Counter(), 0.0
    kinds = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(num_files), desc="Reading damaged files"):
            suffix, content = files[rng.integers(len(files))]
            other = files[rng.integers(len(files))][1]
            path = pathlib.Path(folder, f"image{suffix}")
            path.write_bytes(damage(content, other, rng))
            channels = CHANNELS[rng.integers(len(CHANNELS))]
            start = time.perf_counter()
            hung = threading.Event()

            def stop(hung=hung):
                hung.set()
                if reader._process is not None:
                    reader._process.kill()

            timer = threading.Timer(seconds, stop)
            timer.start()
            try:
                images, (message,), _ = reader.read([path], (16, 16), channels)
                if message is None:
                    result = "read"
                    assert images.shape == (1, 16, 16, channels), images.shape
                else:
                    named = str(path) in message
                    result = "refused" if named else "refused without the name"
                    if not named:
                        warnings.warn(f"{suffix}: {message}", stacklevel=2)
            except RuntimeError as error:
                result = "hung" if hung.is_set() else "crashed"
                warnings.warn(f"{suffix}, file {number}: {error}", stacklevel=2)
            finally:
                timer.cancel()
            counts[result] += 1
            kinds[suffix][result] += 1
            slowest = max(slowest, time.perf_counter() - start)
            if number == num_files // 10 and reader._process is not None:
                early = memory(reader)
    names = ("read", "refused", "refused without the name", "hung", "crashed")
    return {
        "files": num_files,
        "seed": seed,
        **{name: counts[name] for name in names},
        "slowest_seconds": round(slowest, 3),
        "early_megabytes": round(early, 1),
        "late_megabytes": round(memory(reader), 1),
        "kinds": {suffix: dict(count) for suffix, count in sorted(kinds.items())},
    }


def main():
    """Fuzz and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--files", type=int, default=10_000)
    add("--seed", type=int, default=0)
    add("--seconds", type=float, default=20.0, help="after which a file hangs")
    add("--output", help="path of a JSON file")
    arguments = parser.parse_args()
    result = fuzz(arguments.files, arguments.seed, arguments.seconds)
    print(json.dumps(result, indent=2))
    if arguments.output:
        pathlib.Path(arguments.output).write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
