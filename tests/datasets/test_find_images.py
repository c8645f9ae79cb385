import os
import sys

import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageFolder
from keras_iwm.datasets.find_images import find_images, list_images
from keras_iwm.datasets.image_paths import ImagePaths

IMAGE = Image.fromarray(np.full((8, 8, 3), 50, "uint8"))


def save(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    IMAGE.save(path, **options)
    return path


def names(folder):
    """The names that are listed, without a warning."""
    return [
        path.relative_to(folder).as_posix() for path in find_images(folder, "skip")[0]
    ]


def test_every_suffix_is_read(tmp_path):
    suffixes = [
        "avif",
        "bmp",
        "gif",
        "jfif",
        "jpe",
        "jpeg",
        "JPG",
        "png",
        "tif",
        "tiff",
        "webp",
    ]
    for number, suffix in enumerate([*suffixes, "tiff", "webp"]):
        path = tmp_path / f"{number:02}.{suffix}"
        if suffix == "avif" and not Image.registered_extensions().get(".avif"):
            continue
        IMAGE.save(path, format="JPEG" if suffix in ("jfif", "jpe") else None)
    images, _ = ImageFolder(tmp_path, 8, 1, bad_files="raise").load()
    assert len(images) == len(list(tmp_path.iterdir())) >= 10
    np.testing.assert_allclose(images.astype(int), 50, atol=2)


def test_the_order_is_that_of_the_names_folder_by_folder(tmp_path):
    files = [
        "a/b.png",
        "a/c/d.png",
        "a/c.png",
        "a-b/x.png",
        "a.b/y.png",
        "A/z.png",
        "a/Z.png",
    ]
    for name in files:
        save(tmp_path / f"{name}.png")
    expected = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    paths, labels, classes = find_images(tmp_path, "raise")
    assert list(paths) == expected
    assert classes == ["A", "a", "a-b", "a.b"]
    assert labels.tolist() == [0, 1, 1, 1, 1, 2, 3]


def test_what_is_left_out_is_counted(tmp_path):
    for name in (
        *("cat/0.jpg", "dog/0.jpg", "__MACOSX/cat/._0.jpg", "dog/@eaDir/small.jpg"),
        *("cat/.hidden.jpg", ".cache/x.jpg"),
    ):
        save(tmp_path / name)
    for name in ("cat/.DS_Store", "cat/a.heic", "dog/b.heic", "notes.txt", "dog/x"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "ant").mkdir()
    with pytest.warns(UserWarning, match="Left out") as caught:
        dataset = ImageFolder(tmp_path, 8, 1)
    assert [str(warning.message) for warning in caught] == [
        f"Left out in {tmp_path}: 2 .heic files (the first is cat/a.heic), 1 .txt "
        "files (the first is notes.txt), 1 files of no kind (the first is dog/x), 2 "
        "folders of a system or an archiver (the first is __MACOSX), 1 folders without "
        "images (the first is ant), 3 hidden files and folders (the first is .cache)."
    ]
    assert caught[0].filename == __file__
    assert dataset.class_names == ["ant", "cat", "dog"]
    assert dataset.labels.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"2 \.heic files .* Convert, repair"):
        ImageFolder(tmp_path, 8, 1, bad_files="raise")
    (tmp_path / "cat" / "0.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 classes with pictures.*first is 'cat'"):
        ImageFolder(tmp_path, 8, 1)


def test_a_folder_of_other_pictures_says_which(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no file ending in .*3 \.heic files"):
        ImageFolder(tmp_path, 8, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_list_no_image_twice(tmp_path):
    root, outside = tmp_path / "photos", tmp_path / "outside"
    for name in ("cat/0.png", "cat/deep/1.png", "dog/0.png"):
        save(root / name)
    save(outside / "more" / "2.png")
    # In a circle, to what is listed, twice to the same, to nothing.
    for link, target in {
        "cat/deep/up": root,
        "cat/deep/over": tmp_path,
        "kitten": root / "cat",
        "dog/0_again.png": root / "cat" / "0.png",
        "bird": outside / "more",
        "wren": outside,
        "dog/loop": root / "dog" / "loop",
        "dog/gone.png": outside / "gone.png",
    }.items():
        (root / link).symlink_to(target)
    listed, counts, left_out, lost = list_images(root)
    assert listed.split(b"\0")[:-1] == [
        b"bird/2.png", b"cat/0.png", b"cat/deep/1.png", b"dog/0.png",
    ]  # fmt: skip
    assert counts == {"bird": 1, "cat": 2, "dog": 1, "wren": 0}
    assert left_out["links to what is listed elsewhere"][0] == 5
    assert left_out["links to nothing"][0] == 2
    assert lost == {"links to nothing"}
    # A folder of links to hidden files, as data tools make it, is a folder of images.
    hidden = save(root / ".store" / "blob.png")
    (root / "cat" / "linked.png").symlink_to(hidden)
    with pytest.warns(UserWarning, match="5 links to what is listed elsewhere"):
        assert "cat/linked.png" in names(root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_and_folders_named_like_images_are_no_files(tmp_path):
    save(tmp_path / "cat" / "0.png")
    save(tmp_path / "cat" / "set.png" / "1.png")
    os.mkfifo(tmp_path / "cat" / "2.png")
    with pytest.warns(UserWarning, match="1 things that are no files"):
        assert names(tmp_path) == ["cat/0.png", "cat/set.png/1.png"]


def test_folders_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    for name in ("cat/0.png", "cat/secret/1.png", "dog/0.png"):
        save(tmp_path / name)
    scandir = os.scandir
    closed = [tmp_path / "cat" / "secret"]

    def refuse(path):  # The superuser may read everything.
        if any(os.path.samefile(path, folder) for folder in closed):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match="1 folders that may not be .*cat/secret"):
        assert names(tmp_path) == ["cat/0.png", "dog/0.png"]
    with pytest.raises(ValueError, match="1 folders that may not be read"):
        find_images(tmp_path, "raise")
    closed.append(tmp_path / "dog")
    with pytest.raises(ValueError, match="first is 'dog'.* mend the permissions"):
        find_images(tmp_path, "skip")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
@pytest.mark.parametrize("workers", [{"num_threads": 2}, {"num_processes": 1}])
def test_names_of_any_bytes(tmp_path, workers):
    folder = os.fsencode(tmp_path)
    stems = ["日本", "مرحبا", "😀", "e\u0301", "two\nlines", 'quo"te,', "%s{}"]
    for name in [*(stem.encode() for stem in stems), b"latin\xe9", b"\xff\xfe"]:
        os.mkdir(folder + b"/" + name)
        for stem in (b"a", name):
            with open(folder + b"/" + name + b"/" + stem + b".png", "wb") as file:
                IMAGE.save(file, "png")
    with open(folder + b"/latin\xe9/broken\xe9.png", "wb") as file:
        file.write(b"")
    dataset = ImageFolder(
        tmp_path, 8, 19, skipped_csv=tmp_path / "skipped.csv", **workers
    )
    with pytest.warns(UserWarning, match="1 of 19"):
        images, labels = dataset[0]
    np.testing.assert_array_equal(images, np.full((19, 8, 8, 3), 50))
    assert len(set(labels.tolist())) == 9
    assert b"/latin\xe9/broken\xe9.png," in (tmp_path / "skipped.csv").read_bytes()
    ImageFolder(tmp_path, 8, 1).split(0.5)


def test_paths_are_a_sequence(tmp_path):
    paths = ImagePaths(tmp_path, b"a.png\0b/c.png\0d.png\0")
    assert list(paths) == [tmp_path / "a.png", tmp_path / "b/c.png", tmp_path / "d.png"]
    assert paths[-1] == tmp_path / "d.png"
    assert paths.index(tmp_path / "b" / "c.png") == 1
    assert list(paths[1:]) == list(paths)[1:]
    part = paths.take([2, 0])
    assert part.names() == b"d.png\0a.png\0"
    assert part == ImagePaths(tmp_path, part.names())
    assert part != paths
    with pytest.raises(IndexError):
        paths[3]
    assert len(ImagePaths(tmp_path, b"")) == 0


def test_the_list_is_kept_in_a_file(tmp_path):
    root, index = tmp_path / "photos", tmp_path / "run" / "images.index"
    for name in ("bird/0.png", "bird/é.png", "cat/1.png"):
        save(root / name)
    (root / "ant").mkdir()
    (root / "zebra").mkdir()
    with pytest.warns(UserWarning, match="2 folders without images"):
        listed = ImageFolder(root, 8, 1, index=index)
    assert [path.name for path in index.parent.iterdir()] == ["images.index"]
    save(root / "cat" / "later.png")
    read = ImageFolder(root, 8, 1, index=index)
    assert read.paths == listed.paths
    assert read.class_names == listed.class_names == ["ant", "bird", "cat", "zebra"]
    np.testing.assert_array_equal(read.labels, [1, 1, 2])
    assert read.labels.dtype == np.int32
    # A folder may move, but a list of other files is refused.
    root.rename(tmp_path / "moved")
    assert ImageFolder(tmp_path / "moved", 8, 1, index=index).num_samples == 3
    save(tmp_path / "others" / "x.png")
    with pytest.raises(ValueError, match="`index` must list the files of `folder`"):
        ImageFolder(tmp_path / "others", 8, 1, index=index)
    with pytest.raises(ValueError, match="`folder` must be an existing folder"):
        ImageFolder(tmp_path / "missing", 8, 1, index=index)
    # A flat folder.
    flat = tmp_path / "flat.index"
    for _ in range(2):
        dataset = ImageFolder(tmp_path / "others", 8, 1, index=flat)
        assert (dataset.labels, dataset.class_names) == (None, None)
    # Every damage is seen, and no name leads out of the folder.
    content = index.read_bytes()
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 4
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match="images.index is damaged"):
            ImageFolder(tmp_path / "moved", 8, 1, index=index)
    for length in (0, 10, len(content) - 1):
        index.write_bytes(content[:length])
        with pytest.raises(ValueError, match="images.index is damaged"):
            ImageFolder(tmp_path / "moved", 8, 1, index=index)


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "a//x"])
def test_an_index_does_not_lead_out_of_the_folder(tmp_path, name):
    from keras_iwm.datasets.image_index import read_index, write_index

    save(tmp_path / "x.png")
    paths = ImagePaths(tmp_path, name.encode() + b"\0")
    write_index(tmp_path / "index", "images", paths, None, None)
    with pytest.raises(ValueError, match="is damaged or another file"):
        read_index(tmp_path / "index", tmp_path, "images")
