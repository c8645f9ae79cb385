import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from keras_iwm.datasets import ImageShards, check_shards, pack_folder
from keras_iwm.datasets.shard_index import index_content, read_index_content
from keras_iwm.datasets.tar_members import tar_members

IMAGES = 48


@pytest.fixture
def shards(tmp_path):
    """Forty-eight grey pictures in twelve shards; their values are their names."""
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        path = tmp_path / "in" / f"{number}.png"
        Image.fromarray(np.full((8, 8, 3), number, "uint8")).save(path)
    manifest = pack_folder(tmp_path / "in", tmp_path / "out", 10_240)
    assert [shard["num_images"] for shard in manifest["shards"]][:-1] == [9] * 5
    return tmp_path / "out"


def values(dataset):
    """The grey values of an epoch."""
    return np.concatenate([batch[:, 0, 0, 0] for (batch,) in dataset]).tolist()


def change(path, place, content):
    """Overwrites a part of a file."""
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(content)


def header(name, size=0, kind=tarfile.REGTYPE):
    """A tar header."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, "0.png"
    return member.tobuf(tarfile.GNU_FORMAT)


def scan(content):
    """Names and problems of the members."""
    members = tar_members(io.BytesIO(content), len(content))
    return [(name, problem) for name, _, _, problem in members]


@pytest.mark.filterwarnings("ignore:.*could not be used")
def test_damaged_records_are_replaced_and_listed(shards, tmp_path):
    records = ImageShards(shards, 8, 8).paths
    # Pixels, a header, and the mark of another size.
    for row, (shift, content) in enumerate(
        ((0, b"no picture"), (-512, b"\0" * 9), (-512, header("x.png", 7)))
    ):
        place = int(records.offsets[9 * row]) + shift
        change(shards / f"images-{row:06d}.tar", place, content)
    dataset = ImageShards(shards, 8, 8, skipped_csv=tmp_path / "skipped.csv")
    bad = {int(records.name(9 * row).partition(".")[0]) for row in range(3)}
    seen = values(dataset)
    assert len(seen) == IMAGES
    assert set(seen) == set(range(IMAGES)) - bad
    reasons = list(dataset.skipped.values())
    assert sum("none of the kinds" in reason for reason in reasons) == 1
    other = "its shard holds something else in its place"
    assert sum(other in reason for reason in reasons) == 2
    lines = (tmp_path / "skipped.csv").read_text().splitlines()
    assert len(lines) == 4
    assert all(".tar/" in line for line in lines[1:])
    with pytest.raises(ValueError, match="could not be read"):
        values(ImageShards(shards, 8, 8, bad_files="raise"))


@pytest.mark.filterwarnings("ignore:.*could not be used")
def test_a_shard_that_breaks_off_or_is_missing_costs_its_images(shards):
    path = shards / "images-000005.tar"  # the last has few images
    lost = ImageShards(shards, 8, 8).paths
    lost = [int(lost.name(row)[:-4]) for row in np.flatnonzero(lost.shards == 5)]
    for damage in (lambda: path.write_bytes(path.read_bytes()[:500]), path.unlink):
        damage()
        with pytest.warns(UserWarning, match=r"1 of 6 shards .*images-000005\.tar, it"):
            dataset = ImageShards(shards, 8, 8)
        assert set(values(dataset)) == set(range(IMAGES)) - set(lost)
        assert len(dataset.skipped) == len(lost)
        with pytest.raises(ValueError, match="Restore them"):
            ImageShards(shards, 8, 8, bad_files="raise")
        assert list(check_shards(shards)["bad_shards"]) == [path.name]
    for number in (3, 4):
        (shards / f"images-{number:06d}.tar").unlink()
    with pytest.warns(UserWarning, match="3 of 6 shards"):
        dataset = ImageShards(shards, 8, 8)
    with pytest.raises(ValueError, match="More than a tenth of the images"):
        values(dataset)


def test_a_tar_without_an_index_is_read_up_to_where_it_breaks_off(shards):
    (shards / "manifest.json").unlink()
    path = shards / "images-000000.tar"
    path.write_bytes(path.read_bytes()[: 2 * 1024 + 520])
    with pytest.warns(UserWarning, match=r"1 files at which their shard breaks off"):
        dataset = ImageShards(shards, 8, 8)
    assert (dataset.paths.shards == 0).sum() == 2
    with pytest.raises(ValueError, match="Repair the shards"):
        ImageShards(shards, 8, 8, bad_files="raise")


def test_what_a_tar_should_not_hold_is_refused():
    picture = b"x".ljust(512, b"\0")
    good = header("good.png", 1) + picture
    members = [
        (header("link.png", 0, tarfile.SYMTYPE), "links"),
        (header("hard.png", 0, tarfile.LNKTYPE), "links"),
        (header("pipe.png", 0, tarfile.FIFOTYPE), "things that are no plain files"),
        (header("/etc/x.png", 1) + picture, "names that lead out of their shard"),
        (header("a/../../x.png", 1) + picture, "names that lead out of their shard"),
    ]
    content = b"".join(member for member, _ in members) + good
    found = scan(content + bytes(1024))
    assert [problem for _, problem in found] == [*(p for _, p in members), None]
    assert found[-1] == ("good.png", None)
    folder = header("folder/", 0, tarfile.DIRTYPE)
    assert scan(folder + good) == [("good.png", None)]


def test_headers_that_lie_take_no_memory():
    good = header("good.png", 1) + b"x".ljust(512, b"\0")
    for kind in (b"L", b"x", b"g"):
        (found,) = scan(header("n", 2**40, kind) + good)[:1] or [(None, None)]
        assert found == (None, None)  # it would lie behind the end
    name = b"a" * 70_000
    long = header("n", len(name), b"L") + name.ljust(137 * 512, b"\0")
    assert scan(long + good) == [("good.png", "headers that are too large")]
    huge = header("huge.png", 2**31)
    assert scan(huge + good) == [("huge.png", "files of more than a gigabyte")]
    damaged = good + b"\1" * 512 + good
    assert scan(damaged)[0] == ("good.png", None)
    assert scan(damaged)[1][1].startswith("damaged headers")
    negative = bytearray(header("n.png", 5))
    negative[124:136] = b"\xff" * 12  # -1 in base 256
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    assert scan(bytes(negative))[0][1].startswith("damaged headers")


@pytest.mark.parametrize(
    ("change_manifest", "message"),
    [
        (lambda m: m.update(num_images=7), "counts other images"),
        (lambda m: m["shards"].pop(), "other shards"),
        (lambda m: m["shards"][0].update(num_images=1), "counts other images"),
        (lambda m: m["shards"][0].update(size=1), "other sizes"),
        (lambda m: m["shards"][0].update(name="../x.tar"), "no shard has"),
        (lambda m: m["shards"][0].pop("name"), "name"),
        (lambda m: m.update(class_names=["cat"]), "other classes"),
        (lambda m: m.update(index_sha256="0"), "not the one that was made with it"),
        (lambda m: m.update(shards=None), "cannot be trusted"),
        (lambda m: m.update(finished=False), "not packed to the end"),
        (lambda m: m.update(format="keras_iwm shards 9"), "its format"),
    ],
)
def test_a_manifest_that_lies_is_refused(shards, change_manifest, message):
    manifest = json.loads((shards / "manifest.json").read_text())
    change_manifest(manifest)
    (shards / "manifest.json").write_text(json.dumps(manifest))
    for read in (lambda: ImageShards(shards, 8, 8), lambda: check_shards(shards)):
        with pytest.raises(ValueError, match=message):
            read()


def test_a_damaged_manifest_is_refused_and_others_are_passed_over(shards):
    images, _ = ImageShards(shards, 8, 8).load()
    (shards / "manifest.json").write_text('{"format": "keras_iw')
    with pytest.raises(ValueError, match="it is damaged"):
        ImageShards(shards, 8, 8)
    (shards / "images.index").unlink()
    for content in ('{"version": 3}', "[]", "no JSON"):
        (shards / "manifest.json").write_text(content)
        np.testing.assert_array_equal(ImageShards(shards, 8, 8).load()[0], images)


def test_an_index_that_cannot_be_is_refused(shards):
    records = ImageShards(shards, 8, 8).paths
    labels = np.zeros(IMAGES, "int32")
    content = index_content(records, labels)
    again, found = read_index_content(content, records.store)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(again.offsets, records.offsets)
    assert again.names() == records.names()

    def refused(content):
        with pytest.raises(ValueError, match="damaged"):
            read_index_content(content, records.store)

    for place in (0, 5, len(content) // 2, len(content) - 1):
        refused(content[:place])
        refused(content[:place] + b"\7" + content[place + 1 :])
    refused(b"")
    refused(b"[]\n")
    for name, value in (
        ("offsets", records.offsets + 10**6),
        ("offsets", records.offsets - 1024),
        ("lengths", records.lengths + 2**31),
        ("lengths", -records.lengths),
        ("shards", records.shards[::-1]),
        ("shards", records.shards + 1),
        ("sizes", {"../evil.tar": 1}),
        ("sizes", {"/evil.tar": 1}),
    ):
        wrong = records.take(slice(None))
        setattr(wrong, name, value)
        refused(index_content(wrong, labels))
    refused(index_content(records, labels - 1))
    refused(index_content(records, labels + 2**30))


def test_tars_that_no_image_can_be_found_in_are_refused(tmp_path):
    for content in ((), ("notes.txt",), ("photos.tar.gz",)):
        for name in content:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match="`shards` must hold tar files"):
            ImageShards(tmp_path, 8)
    (tmp_path / "a.tar").write_bytes(bytes(10_240))
    with pytest.raises(ValueError, match="`shards` must hold images"):
        ImageShards(tmp_path, 8)
    with pytest.raises(ValueError, match="must be an existing folder"):
        ImageShards(tmp_path / "missing", 8)
