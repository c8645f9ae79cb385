import inspect
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageFolder, image_worker, load_sample_photos
from keras_iwm.datasets.image_reader import ImageReader
from keras_iwm.datasets.read_files import read_files
from keras_iwm.datasets.read_image import fit_image, load_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen JPEG files of noise, in two classes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in range(2):
        (folder / str(label)).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 256, (60, 80, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / str(label) / f"{number}.jpg")
    return folder


def runs(number):
    """Whether the process with this number is there."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def soon_ends(number):
    """Whether the process with this number is gone, or goes within seconds."""
    for _ in range(100):
        if not runs(number):
            return True
        time.sleep(0.05)
    return False


def process_numbers(dataset):
    """The numbers of the processes of a dataset that has used both."""
    readers = [dataset._pool.idle_readers.get() for _ in range(2)]
    for reader in readers:
        dataset._pool.idle_readers.put(reader)
    return [reader._process.pid for reader in readers]


def test_processes_hand_out_the_batches_of_threads(folder):
    threads = ImageFolder(folder, (16, 20), batch_size=5, seed=3, num_threads=1)
    processes = ImageFolder(folder, (16, 20), batch_size=5, seed=3, num_processes=2)
    for epoch in (0, 4):
        threads.epoch = processes.epoch = epoch
        for index in (0, 1, 2, 1):
            wanted, labels = threads[index]
            images, received_labels = processes[index]
            assert images.dtype == np.uint8
            np.testing.assert_array_equal(images, wanted)
            np.testing.assert_array_equal(received_labels, labels)
    train, held_out = processes.split(0.25)
    np.testing.assert_array_equal(
        held_out.load()[0],
        threads.load(np.flatnonzero(threads.labels >= 0))[0][
            [processes.paths.index(path) for path in held_out.paths]
        ],
    )
    assert train[0][0].shape == (5, 16, 20, 3)


def test_fit_reads_in_processes_on_every_backend(folder):
    seen = []

    class Recorded(ImageFolder):
        """Notes what it hands out."""

        def load_batch(self, index):
            batch = super().load_batch(index)
            seen.append((self.epoch, batch[0]))
            return batch

    dataset = Recorded(folder, (16, 16), batch_size=4, seed=1, num_processes=2)
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", loss="mse")
    model.fit(dataset, epochs=2, verbose=0)
    pixels, _ = ImageFolder(folder, (16, 16), batch_size=1).load()
    expected = np.concatenate([dataset.order(epoch) for epoch in range(2)])
    read = np.concatenate([images for _, images in seen])[-len(expected) :]
    np.testing.assert_array_equal(read, pixels[expected])


def test_the_next_epoch_is_prepared_at_the_end_of_one(folder):
    dataset = ImageFolder(folder, (16, 16), batch_size=8, num_threads=2)
    dataset[1]
    assert list(dataset._batches) == [(0, 1), (1, 0), (1, 1)]
    prepared, _ = dataset._batches[1, 0].result()
    dataset.epoch = 1
    assert dataset[0][0] is prepared
    pixels, _ = dataset.load(dataset.order(1)[:8])
    np.testing.assert_array_equal(prepared, pixels)


def test_broken_files_are_named_and_the_process_reads_on(folder, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((folder / "0" / "0.jpg").read_bytes()[:700])
    reader = ImageReader()
    good = folder / "0" / "0.jpg"
    expected = np.asarray(read_files([good], (8, 8), 3)[0])
    images, messages, dtype = reader.read([broken, good], (8, 8))
    assert "broken.jpg could not be read" in messages[0]
    assert (messages[1], dtype) == (None, "uint8")
    np.testing.assert_array_equal(images[1:], expected)
    number = reader._process.pid
    np.testing.assert_array_equal(reader.read([good], (8, 8))[0], expected)
    assert reader._process.pid == number
    (tmp_path / "cat").mkdir()
    broken.rename(tmp_path / "cat" / "ä b.jpg")
    dataset = ImageFolder(
        tmp_path, (8, 8), batch_size=1, num_processes=1, bad_files="raise"
    )
    with pytest.raises(ValueError, match=r"ä b\.jpg could not be read"):
        dataset[0]


def test_a_killed_process_is_replaced(folder):
    reader = ImageReader()
    paths = [folder / "0" / "0.jpg"]
    images, _, _ = reader.read(paths, (8, 8))
    os.kill(reader._process.pid, signal.SIGKILL)
    again, messages, _ = reader.read(paths, (8, 8))
    np.testing.assert_array_equal(again, images)
    assert messages == [None]


CRASHING_WORKER = """
import os, pathlib, runpy, signal, sys
from PIL import Image
opened = Image.open
def crash(file, *arguments, **options):
    if pathlib.Path(getattr(file, "name", file)).read_bytes().endswith(b"crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return opened(file, *arguments, **options)
Image.open = crash
runpy.run_path({worker!r}, run_name="__main__")
"""


def test_a_file_that_crashes_the_process_is_a_bad_file(folder, tmp_path, monkeypatch):
    program = tmp_path / "worker.py"
    program.write_text(CRASHING_WORKER.format(worker=image_worker.__file__))
    photos = tmp_path / "photos"
    shutil.copytree(folder, photos)
    bad = photos / "1" / "3.jpg"
    bad.write_bytes(bad.read_bytes() + b"crash")
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    expected, _, _ = ImageReader().read(paths, (8, 8))
    monkeypatch.setattr(image_worker, "__file__", str(program))
    images, messages, dtype = ImageReader().read(paths, (8, 8))
    assert dtype == "uint8", messages
    place = paths.index(str(bad))
    assert "ended the process that read it, twice, with code -11" in messages[place]
    assert [m for m in messages if m] == [messages[place]]
    good = np.arange(len(paths)) != place
    np.testing.assert_array_equal(images[good], expected[good])
    # A run goes on without it, and says so.
    dataset = ImageFolder(photos, (8, 8), batch_size=16, num_processes=1)
    with pytest.warns(UserWarning, match="ended the process"):
        assert len(dataset[0][0]) == 16


def test_processes_know_neither_keras_nor_numpy(folder):
    reader = ImageReader()
    reader.read([folder / "0" / "0.jpg"], (8, 8))
    mapped = f"/proc/{reader._process.pid}/maps"
    if not os.path.exists(mapped):
        pytest.skip("this system does not tell what a process has loaded")
    with open(mapped) as lines:
        loaded = lines.read()
    assert "/PIL/" in loaded
    for package in ("numpy", "jax", "tensorflow", "torch"):
        assert f"/{package}/" not in loaded


def test_processes_end_with_their_dataset(folder):
    dataset = ImageFolder(folder, (8, 8), batch_size=4, num_processes=2)
    for index in range(4):
        dataset[index]
    numbers = process_numbers(dataset)
    assert all(map(runs, numbers))
    del dataset
    assert all(map(soon_ends, numbers))


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "os._exit(1)"])
def test_processes_end_with_their_script(folder, end):
    """A script without a main guard, that ends well, by an error, or at once."""
    script = f"""
    import os, sys, types
    # A stand-in for Keras, which takes seconds to import and is not what is tested.
    sys.modules["keras"] = keras = types.ModuleType("keras")
    sys.modules["keras_iwm"] = package = types.ModuleType("keras_iwm")
    package.__path__ = [{os.path.dirname(sys.modules["keras_iwm"].__file__)!r}]
    keras.ops, keras.DTypePolicy = None, str
    keras.callbacks = types.SimpleNamespace(History=str)
    keras.optimizers = types.SimpleNamespace(
        schedules=types.SimpleNamespace(LearningRateSchedule=float)
    )
    keras.utils = types.SimpleNamespace(PyDataset=type("PyDataset", (), {{
        "__init__": lambda self, workers: None
    }}))
    from keras_iwm.datasets.image_folder import ImageFolder

    dataset = ImageFolder({str(folder)!r}, (8, 8), batch_size=4, num_processes=2)
    for index in range(4):
        dataset[index]
    print(*process_numbers(dataset), flush=True)
    {end}
    """
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            inspect.getsource(process_numbers) + textwrap.dedent(script),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    numbers = [int(number) for number in result.stdout.split()]
    assert len(numbers) == 2, result.stderr
    assert all(map(soon_ends, numbers))
    assert bool(result.stderr) == end.startswith("raise")


def read_whole_and_drafted(path, image_size):
    """A photo that is shrunk after it was decoded, and one that is decoded small."""
    whole = fit_image(load_image(path, 3), image_size)
    (drafted,), _, _ = read_files([path], image_size, 3)
    return np.asarray(whole, "float32"), np.asarray(drafted, "float32")


@pytest.mark.parametrize(
    ("size", "wanted", "mean_difference"),
    [((300, 400), 160, 0.0), ((800, 1200), 96, 0.8), ((800, 1200), 40, 0.8)],
)
def test_large_photos_are_decoded_small_and_look_the_same(
    tmp_path, size, wanted, mean_difference
):
    photo = Image.fromarray(load_sample_photos()["china"]).resize(size[::-1])
    photo.save(tmp_path / "photo.jpg", quality=95)
    expected, read = read_whole_and_drafted(tmp_path / "photo.jpg", (wanted, wanted))
    assert np.abs(read - expected).mean() <= mean_difference
    assert np.abs(read - expected).max() <= 15 * mean_difference


def test_photos_that_lie_on_their_side_stay_sharp(tmp_path):
    photo = Image.fromarray(load_sample_photos()["china"]).resize((1600, 800))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", quality=95, exif=exif)
    expected, read = read_whole_and_drafted(tmp_path / "photo.jpg", (50, 190))
    assert np.abs(read - expected).mean() < 0.8
