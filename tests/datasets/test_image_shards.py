import copy
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageFolder, ImageShards, load_images, pack_folder

SIZE = 16


def write_tar(path, members):
    """Writes pairs of names and bytes."""
    with tarfile.open(path, "w:") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def png(value, size=(8, 8)):
    """The bytes of a picture of one grey value."""
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, "uint8")).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of thirty images of several kinds, no two alike."""
    folder, rng = tmp_path_factory.mktemp("folder"), np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name / "deeper").mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(0, 256, (20 + number, 24, 3)).astype("uint8")
            suffix = (".png", ".jpg", ".tiff", ".webp", ".npy")[number % 5]
            path = (
                folder / name / ("deeper" if number % 2 else "") / f"{number}{suffix}"
            )
            if suffix == ".npy":
                np.save(path, pixels)
            else:
                Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    """The same images in a dozen shards."""
    output = tmp_path_factory.mktemp("shards")
    assert len(pack_folder(folder, output, 25_000)["shards"]) >= 8
    return output


def by_name(dataset):
    """Image and label of each name."""
    images, labels = dataset.load()
    names = [dataset.paths.name(index) for index in range(len(dataset.paths))]
    return dict(zip(names, zip(images, labels.tolist(), strict=True), strict=True))


@pytest.mark.parametrize("num_processes", [0, 1])
def test_images_are_those_of_the_folder(folder, shards, num_processes):
    expected = by_name(ImageFolder(folder, SIZE, 20))
    options = {"num_processes": num_processes, "bad_files": "raise"}
    dataset = ImageShards(shards, SIZE, 20, **options)
    found = by_name(dataset)
    assert found.keys() == expected.keys()
    assert dataset.class_names == ["cat", "dog"]
    for name, (image, label) in expected.items():
        np.testing.assert_array_equal(found[name][0], image)
        assert found[name][1] == label
    # Batches have the images of the order, in its order.
    images, labels = dataset.load()
    dataset.epoch = 3
    batch, batch_labels = dataset[0]
    np.testing.assert_array_equal(batch, images[dataset.order(3)[:20]])
    np.testing.assert_array_equal(batch_labels, labels[dataset.order(3)[:20]])


def test_images_of_more_bits_and_channels_keep_them(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(4):
        bands = rng.normal(size=(9, 12, 5)).astype("float32")
        bands = np.asfortranarray(bands) if number else bands
        np.save(tmp_path / "in" / f"{number}.npy", bands)
    pack_folder(tmp_path / "in", tmp_path / "out")
    expected, _ = ImageFolder(tmp_path / "in", 8, 1, num_channels=5).load()
    dataset = ImageShards(tmp_path / "out", 8, 1, num_channels=5)
    order = [int(dataset.paths.name(row)[0]) for row in range(4)]
    assert dataset.load()[0].dtype == np.float32
    np.testing.assert_array_equal(dataset.load()[0], expected[order])


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_each_image_comes_once_in_an_epoch_of_all_processes(shards, processes):
    whole = ImageShards(shards, SIZE, 12, num_streams=4, seed=1)
    parts = [
        ImageShards(shards, SIZE, 12, num_streams=4, seed=1) for _ in range(processes)
    ]
    seen, seen_shards = [], []
    for rank, part in enumerate(parts):
        part.share = (rank, processes)
        part.epoch = 2
        indices = np.concatenate([part.batch_indices(b) for b in range(len(part))])
        seen.append(indices)
        seen_shards.append(set(part.paths.shards[indices]))
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(60))
    # But for those at the cuts, each process has shards of its own.
    shared = sum(map(len, seen_shards)) - len(set.union(*seen_shards))
    assert shared <= 3
    # Together they make the batch of one process.
    whole.epoch = 2
    batch = np.concatenate([part[1][0] for part in parts])
    np.testing.assert_array_equal(batch, whole[1][0])


@pytest.mark.parametrize("num_processes", [0, 2])
def test_a_run_resumes_exactly_at_any_step(shards, num_processes):
    options = {"seed": 5, "num_processes": num_processes, "num_threads": 3}
    run = ImageShards(shards, SIZE, 8, **options)
    batches = {}
    for epoch in range(2):
        run.epoch = epoch
        for index in range(len(run)):
            batches[epoch, index] = run[index]
    for epoch, index in ((0, 0), (0, 6), (1, 3))[num_processes:]:
        resumed = ImageShards(shards, SIZE, 8, **options)
        resumed.epoch, resumed.position = epoch, index
        for row, part in enumerate(resumed[resumed.position]):
            np.testing.assert_array_equal(part, batches[epoch, index][row])


def test_copies_and_pickles_read_too(shards):
    dataset = ImageShards(shards, SIZE, 8)
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        np.testing.assert_array_equal(other[2][0], dataset[2][0])


def test_parts_hold_out_what_those_of_the_folder_do(folder, shards):
    def names(dataset):
        return {dataset.paths.name(index) for index in range(len(dataset.paths))}

    for mine, folders in zip(
        ImageShards(shards, SIZE, 8).split(0.3, seed=2),
        ImageFolder(folder, SIZE, 8).split(0.3, seed=2),
        strict=True,
    ):
        assert names(mine) == names(folders)
        order = np.concatenate([mine.batch_indices(b) for b in range(len(mine))])
        assert len(set(order)) == len(order)
        assert order.max() < mine.num_samples


def test_others_tars_are_read_and_their_index_is_kept(tmp_path):
    write_tar(
        tmp_path / "b.tar",
        [
            ("./000.jpg", png(1)),  # what it holds counts, not its suffix
            ("./000.json", b"{}"),
            ("./000.cls", b"2"),
            ("./001.cls", b"0\n"),
            ("./001.png", png(2)),
            ("./001.seg.png", png(3)),
        ],
    )
    long = "folder/" * 30 + "é" * 60
    write_tar(tmp_path / "a.tar", [(f"{long}.PNG", png(4)), (f"{long}.cls", b"1")])
    with pytest.warns(UserWarning, match=r"1 \.json files .*1 \.seg\.png files"):
        dataset = ImageShards(tmp_path, 8, 1, index=tmp_path / "kept.index")
    images, labels = dataset.load()
    assert images[:, 0, 0, 0].tolist() == [4, 1, 2]
    assert labels.tolist() == [1, 2, 0]
    assert dataset.class_names == ["0", "1", "2"]
    assert dataset.paths.name(0) == f"{long}.PNG"
    (tmp_path / "b.tar").rename(tmp_path / "c.tar")
    with pytest.warns(UserWarning, match=r"1 of 2 shards .*b\.tar, it is missing"):
        ImageShards(tmp_path, 8, 1, index=tmp_path / "kept.index")
    (tmp_path / "c.tar").rename(tmp_path / "b.tar")
    (tmp_path / "b.tar").chmod(0o600)
    again = ImageShards(tmp_path, 8, 1, index=tmp_path / "kept.index")
    np.testing.assert_array_equal(again.load()[0], images)
    np.testing.assert_array_equal(again.labels, labels)


def test_labels_count_only_if_all_images_have_one(tmp_path):
    members = [("0.png", png(1)), ("0.cls", b"1"), ("1.png", png(2)), ("1.cls", b"x")]
    write_tar(tmp_path / "a.tar", members)
    with pytest.warns(UserWarning, match="1 labels, for not all images have one"):
        dataset = ImageShards(tmp_path, 8, 2)
    assert len(dataset[0]) == 1


def test_shards_behind_a_url_are_read_by_fsspec(shards):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in shards.iterdir():
        memory.pipe(f"/photos/{path.name}", path.read_bytes())
    try:
        here, there = (
            ImageShards(place, SIZE, 8, num_threads=2)
            for place in (shards, "memory://photos")
        )
        for index in range(3):
            for part, expected in zip(there[index], here[index], strict=True):
                np.testing.assert_array_equal(part, expected)
        images, _ = load_images("memory://photos", SIZE, limit=5)
        np.testing.assert_array_equal(images, here.load(np.arange(5))[0])
        memory.rm("/photos/images-000002.tar")
        with pytest.raises(ValueError, match=r"images-000002\.tar, it is missing"):
            ImageShards("memory://photos/", SIZE, 8, bad_files="raise")
        with pytest.raises(ValueError, match="a URL that fsspec can list"):
            ImageShards("memory://nothing", SIZE, 8)
        with pytest.raises(ValueError, match="a URL that fsspec can list"):
            ImageShards("no-such-protocol://x", SIZE, 8)
    finally:
        memory.rm("/photos", recursive=True)
