import csv
import os
import sys
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageFolder, load_images, load_segmentation
from keras_iwm.datasets.image_reader import ImageReader

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="once is enough"
)
WORKERS = [{"num_threads": 3}, {"num_processes": 1}]


def save(path, value, size=(8, 8)):
    """Writes a picture of one grey value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, "uint8")).save(path)


def save_bomb(path, side=8100):
    """Writes a small PNG of very many pixels."""
    Image.new("1", (side, side)).save(path)


def values(images):
    return images[:, 0, 0, 0].tolist()


@pytest.fixture
def folder(tmp_path):
    """Two classes of 30 pictures each, whose value says the file, and five bad ones."""
    root = tmp_path / "photos"
    for label, name in enumerate(("σκύλος", "猫")):
        for number in range(30):
            save(root / name / f"{number:02}.png", 100 * label + number)
    whole = (root / "猫" / "00.png").read_bytes()
    (root / "猫" / "05a.png").write_bytes(whole[:40])
    (root / "猫" / "05b.jpg").write_bytes(b"")
    (root / "猫" / "кот.jpeg").write_text("<html>404</html>")
    save_bomb(root / "σκύλος" / "06.5.png")
    Image.fromarray(np.full((8, 8), 9, "uint16")).save(root / "σκύλος" / "z.png")
    return root


BAD = {
    "05a.png": "could not be read",
    "05b.jpg": "could not be read (it is empty)",
    "кот.jpeg": "could not be read (it is none of the kinds that are read)",
    "06.5.png": "could not be read (it has 8100 x 8100 pixels, more than max_pixels=",
    "z.png": "must have 3 channels",
}


@pytest.mark.filterwarnings("ignore:.*image files could not be used")
@pytest.mark.parametrize("workers", [{"num_threads": 3}, {"num_processes": 2}])
def test_a_batch_has_another_image_of_the_class_instead(folder, workers):
    def read(epochs, **arguments):
        dataset = ImageFolder(folder, 8, 13, seed=3, **arguments)
        batches = []
        for epoch in epochs:
            dataset.epoch = epoch
            batches += [dataset[index] for index in range(len(dataset))]
        return dataset, batches

    dataset, batches = read((0, 1, 2), **workers)
    assert len(batches) == 15
    bad = [number for number, path in enumerate(dataset.paths) if path.name in BAD]
    grey = iter([*range(30), *range(100, 130)])
    known = {
        number: next(grey) for number in range(dataset.num_samples) if number not in bad
    }
    for number, (images, labels) in enumerate(batches):
        assert images.shape == (13, 8, 8, 3)
        wanted = dataset.batch_indices(number % 5, number // 5)
        np.testing.assert_array_equal(labels, dataset.labels[wanted])
        np.testing.assert_array_equal(images[:, 0, 0, 0] // 100, labels)
        for value, index in zip(values(images), wanted, strict=True):
            assert value == known.get(index, value)
    # Other workers, and a run that begins later, read the very same.
    for epochs, skip in (((2,), 10), ((0, 1, 2), 0)):
        _, others = read(epochs, num_threads=1)
        for other, batch in zip(others, batches[skip:], strict=True):
            for part, expected in zip(other, batch, strict=True):
                np.testing.assert_array_equal(part, expected)
    assert {os.path.basename(path) for path in dataset.skipped} == set(BAD)
    for path, reason in dataset.skipped.items():
        assert reason.startswith(BAD[os.path.basename(path)])


@pytest.mark.parametrize("workers", WORKERS)
def test_each_is_noted_once_in_file_and_warning(folder, tmp_path, workers):
    path = tmp_path / "run" / "skipped.csv"
    for start in range(2):  # the second stands for a resumed run
        dataset = ImageFolder(folder, 8, 64, skipped_csv=path, **workers)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for epoch in range(3):
                dataset.epoch = epoch
                dataset[0]
            images, labels = dataset.load()
        assert len(images) == len(labels) == 60
        assert values(images) == [*range(30), *range(100, 130)]
        messages = [str(warning.message) for warning in caught]
        assert len(messages) <= 4
        assert "5 of 65 image files could not be used" in messages[-1]
        assert f"All are listed in {path}" in messages[-1]
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["path", "reason"]
        assert sorted(os.path.basename(row[0]) for row in rows[1:]) == sorted(BAD)
        assert {tuple(row) for row in rows[1:]} == set(dataset.skipped.items())
        if not start:  # killed while it wrote the last line
            path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("workers", WORKERS)
def test_raise_names_the_first(folder, workers):
    for name, reason in BAD.items():
        for path in folder.rglob("*"):
            if path.name in BAD and path.name != name:
                path.rename(path.with_name(f".{path.name}"))
            elif path.name == f".{name}":
                path.rename(path.with_name(name))
        with pytest.warns(UserWarning, match="4 hidden files"):
            dataset = ImageFolder(folder, 8, 61, bad_files="raise", **workers)
        with pytest.raises(ValueError, match="The image file ") as caught:
            dataset[0]
        assert str(caught.value).startswith("The image file ")
        assert f"{name} {reason}" in str(caught.value)
        with pytest.raises(ValueError, match="The image file "):
            dataset.load()
    with pytest.raises(ValueError, match="'skip' .* or 'raise'"):
        ImageFolder(folder, 8, bad_files="ignore")


@pytest.mark.parametrize("workers", WORKERS)
def test_more_than_a_tenth_is_an_error(folder, workers):
    (folder / "猫" / "more.png").write_bytes(b"")
    for path in folder.rglob("1*.png"):
        path.unlink()
    dataset = ImageFolder(folder, 8, 8, **workers)
    assert dataset.num_samples == 46
    with pytest.raises(ValueError, match="More than a tenth .*. of 46"):
        dataset.load()
    with pytest.raises(ValueError, match="More than a tenth .*. of 46"):
        list(dataset)


def test_a_class_without_a_good_image_gets_others_with_their_labels(tmp_path):
    for number in range(12):
        save(tmp_path / "a" / f"{number}.png", 7)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.png").write_bytes(b"")
    dataset = ImageFolder(tmp_path, 8, 13)
    with pytest.warns(UserWarning, match="1 of 13 image files"):
        images, labels = dataset[0]
    assert values(images) == [7] * 13
    assert labels.tolist() == [0] * 13
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="More than a tenth"):
        ImageFolder(tmp_path, 8, 13)[0]
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="Not one of .*it is empty"):
        ImageFolder(tmp_path, 8, 1)[0]


def test_other_dtypes_are_bad_files(tmp_path):
    for number in range(20):
        np.save(tmp_path / f"{number:02}.npy", np.full((8, 8, 3), number, "uint16"))
    save(tmp_path / "a.png", 1)
    dataset = ImageFolder(tmp_path, 8, 21, seed=1)
    with pytest.warns(UserWarning, match="holds uint8, and those before it uint16"):
        (images,) = dataset[0]
    assert images.dtype == np.uint16
    assert set(values(images)) == set(range(20))


def peak_memory(reader):
    """The most memory that a process ever had, in MB."""
    with open(f"/proc/{reader._process.pid}/status") as lines:
        return int(next(s for s in lines if s.startswith("VmHWM")).split()[1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_bombs_are_refused_before_they_take_memory(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    save(tmp_path / "good.png", 5)
    save_bomb(tmp_path / "bomb.png")
    Image.new("L", (8200, 8200)).save(tmp_path / "bomb.gif")
    Image.new("L", (8200, 8200)).save(tmp_path / "scan.jpg", progressive=True)
    bands = np.broadcast_to(np.uint8(1), (2, 8200, 8200))
    tifffile.imwrite(
        tmp_path / "bands.tif",
        bands,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 1},
    )
    with open(tmp_path / "bomb.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    reader = ImageReader()
    reader.read([tmp_path / "good.png"], (8, 8))
    before = peak_memory(reader)
    paths = [path for path in tmp_path.iterdir() if path.name != "good.png"]
    _, messages, _ = reader.read(paths, (8, 8))
    assert None not in messages
    for path, message in zip(paths, messages, strict=True):
        assert str(path) in message
        assert path.suffix == ".npy" or "max_pixels=64000000" in message
    assert peak_memory(reader) < before + 60
    # A large JPEG that is decoded small is a good one, and needs little as well.
    Image.new("L", (9000, 9000), 77).save(tmp_path / "large.jpg")
    images, messages, _ = reader.read([tmp_path / "large.jpg"], (8, 8))
    assert messages == [None]
    np.testing.assert_array_equal(images, np.full((1, 8, 8, 3), 77))
    assert peak_memory(reader) < before + 60
    _, (message,), _ = reader.read([tmp_path / "good.png"], (8, 8), 3, 255, 63)
    assert "8 x 8 pixels, more than max_pixels=63" in message


def test_load_images_leaves_out_or_raises(folder, tmp_path):
    with pytest.warns(UserWarning, match="5 of 65 .* were left out"):
        images, labels = load_images(folder, 8, skipped_csv=tmp_path / "skipped.csv")
    assert values(images) == [*range(30), *range(100, 130)]
    assert labels.tolist() == [0] * 30 + [1] * 30
    assert len((tmp_path / "skipped.csv").read_text().splitlines()) == 6
    with pytest.raises(ValueError, match="could not be read"):
        load_images(folder, 8, bad_files="raise")


def test_load_segmentation_leaves_out_pairs(tmp_path):
    for number in range(30):
        save(tmp_path / "images" / f"{number:02}.png", number)
        mask = Image.fromarray(np.full((8, 8), number, "uint8"))
        (tmp_path / "masks").mkdir(exist_ok=True)
        mask.save(tmp_path / "masks" / f"{number:02}.png")
    (tmp_path / "images" / "03.png").write_bytes(b"")
    save_bomb(tmp_path / "masks" / "07.png")
    folders = tmp_path / "images", tmp_path / "masks"
    with pytest.raises(ValueError, match="03.png could not be read"):
        load_segmentation(*folders, 8)
    path = tmp_path / "skipped.csv"
    with pytest.warns(UserWarning, match="2 of 30 .* were left out"):
        images, masks = load_segmentation(
            *folders, 8, bad_files="skip", skipped_csv=path
        )
    expected = [number for number in range(30) if number not in (3, 7)]
    assert values(images) == expected
    assert masks[:, 0, 0].tolist() == expected
    assert "A mask must be as large as its image" in path.read_text()
