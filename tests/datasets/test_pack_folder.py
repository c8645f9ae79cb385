import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

import keras_iwm
from keras_iwm.command_line import main
from keras_iwm.datasets import ImageShards, check_shards, pack_folder
from keras_iwm.datasets.image_paths import ImagePaths
from keras_iwm.datasets.member_names import member_names

# Packs, without Keras, and is killed before its third shard has its name.
KILLED = """
import os, signal, sys, types
root, folder, output = sys.argv[1:]
for name in ("keras_iwm", "keras_iwm.datasets"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join(root, *name.split("."))]
from keras_iwm.datasets import pack_folder, write_shards
write, count = write_shards._write_shard, [0]
def write_and_die(*arguments):
    write(*arguments)
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
write_shards._write_shard = write_and_die
pack_folder.pack_folder(folder, output, 20_480)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures of two classes."""
    folder, rng = tmp_path_factory.mktemp("folder"), np.random.default_rng(0)
    for number in range(40):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3)).astype("uint8")).save(path)
    return folder


def content_of(output):
    """The bytes of all files."""
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_the_manifest_says_what_is_there(folder, tmp_path):
    manifest = pack_folder(folder, tmp_path, 20_480)
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert manifest["num_images"] == 40
    assert manifest["class_names"] == ["cat", "dog"]
    names = {"manifest.json", "images.index"}
    seen = {}
    for number, shard in enumerate(manifest["shards"]):
        assert shard["name"] == f"images-{number:06d}.tar"
        content = (tmp_path / shard["name"]).read_bytes()
        assert shard["size"] == len(content) <= 20_480
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        names.add(shard["name"])
        with tarfile.open(tmp_path / shard["name"]) as tar:
            members = tar.getmembers()
            assert shard["num_images"] == len(members) / 2
            for member in members:
                seen[member.name] = tar.extractfile(member).read()
    assert set(os.listdir(tmp_path)) == names
    expected = {}
    for path in folder.rglob("*.png"):
        name = path.relative_to(folder).as_posix()
        expected[name] = path.read_bytes()
        label = ("cat", "dog").index(path.parent.name)
        expected[name.replace(".png", ".cls")] = str(label).encode()
    assert seen == expected
    # The order is random, so that each shard is a sample of the whole.
    images = [name for name in seen if name.endswith(".png")]
    order = np.random.default_rng(0).permutation(40)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert images == [names[index] for index in order]


def test_the_same_call_makes_the_same_bytes_and_another_seed_others(folder, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        pack_folder(folder, tmp_path / name, 20_480, seed)
    one = content_of(tmp_path / "one")
    assert content_of(tmp_path / "two") == one
    assert (
        content_of(tmp_path / "three")["images-000000.tar"] != one["images-000000.tar"]
    )


def test_packing_goes_on_behind_the_last_whole_shard(folder, tmp_path):
    whole, output = tmp_path / "whole", tmp_path / "output"
    pack_folder(folder, whole, 20_480)
    root = pathlib.Path(keras_iwm.__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, root, folder, output], capture_output=True
    )
    assert ended.returncode == -9, ended.stderr.decode()
    assert {"images-000001.tar", "unfinished.tar"} <= set(os.listdir(output))
    assert "images-000002.tar" not in os.listdir(output)
    with pytest.raises(ValueError, match="not packed to the end"):
        ImageShards(output, 8)
    with pytest.raises(ValueError, match="one that the same call has begun"):
        pack_folder(folder, output, 30_720)
    first = (output / "images-000000.tar").stat()
    pack_folder(folder, output, 20_480)
    assert (output / "images-000000.tar").stat().st_mtime_ns == first.st_mtime_ns
    assert content_of(output) == content_of(whole)


def test_shards_of_another_folder_are_not_mixed_in(folder, tmp_path):
    pack_folder(folder, tmp_path, 20_480)
    with pytest.raises(ValueError, match="one that the same call has begun"):
        pack_folder(folder, tmp_path, 20_480)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "images-000001.tar").write_bytes(
        (tmp_path / "images-000000.tar").read_bytes()
    )
    with pytest.raises(ValueError, match=r"images-000001\.tar does not hold"):
        pack_folder(folder, tmp_path, 20_480)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "others.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has others\.tar"):
        pack_folder(folder, tmp_path, 20_480)


def test_a_file_that_changes_meanwhile_is_noticed(folder, tmp_path, monkeypatch):
    sizes = os.path.getsize
    wanted = str(folder / "cat" / "4.png")
    monkeypatch.setattr(
        os.path, "getsize", lambda path: sizes(path) + (str(path) == wanted)
    )
    with pytest.raises(ValueError, match=r"4\.png has changed since packing began"):
        pack_folder(folder, tmp_path, 20_480)


def test_names_end_at_their_first_dot_and_stay_apart():
    names = ["a.b/c.d.JPG", "a.b/c%2Ed.jpg", "plain.png", "x.jpg", "x.png", "a\\b.png"]
    paths = ImagePaths("f", "".join(f"{name}\0" for name in names).encode())
    assert member_names(paths) == [
        "a.b/c%2Ed.JPG",
        "a.b/c%252Ed.jpg",
        "plain.png",
        "x%2Ejpg.jpg",
        "x%2Epng.png",
        "a%5Cb.png",
    ]
    names = ["x.jpg", "x.png", "x.jpg.jpg"]
    paths = ImagePaths("f", "".join(f"{name}\0" for name in names).encode())
    with pytest.raises(ValueError, match="cannot be told apart"):
        member_names(paths)


def test_names_of_any_bytes_and_length_come_back(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    names = [b"\xff\xfe.png", "é".encode() * 60 + b".png", b"a" * 180 + b".png"]
    image = Image.fromarray(np.full((8, 8, 3), 7, "uint8"))
    image.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for name in names:
        with open(os.path.join(os.fsencode(source), name), "wb") as file:
            file.write(content)
    pack_folder(source, tmp_path / "out")
    dataset = ImageShards(tmp_path / "out", 8, 1, bad_files="raise")
    found = {os.fsencode(dataset.paths.name(row)) for row in range(3)}
    assert found == set(names)
    assert dataset.load()[0].tolist() == np.full((3, 8, 8, 3), 7).tolist()


def test_commands_pack_and_check(folder, tmp_path, capsys):
    output = tmp_path / "out"
    options = ["--output", str(output), "--shard-size", "20.48kB"]
    assert main(["pack", str(folder), *options]) is None
    assert "40 images in" in capsys.readouterr().out
    assert main(["check", str(output), "--decode"]) == 0
    printed = capsys.readouterr().out
    assert "40 images in 2 classes in" in printed
    assert "0 bad shards" in printed
    shard = output / "images-000001.tar"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert main(["check", str(output)]) == 1
    assert "images-000001.tar: its SHA-256 is another one" in capsys.readouterr().out
    (output / "more.tar").write_bytes(b"")
    assert "shards that the manifest does not name" in str(check_shards(output))
    (output / "images.index").write_bytes(b"")
    assert main(["check", str(output)]) == 2
    assert "cannot be trusted" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="the same call has begun"):
        main(["pack", str(folder), *options])
    with pytest.raises(SystemExit):
        main(["pack", str(folder), "--output", "x", "--shard-size", "many"])
    assert "is not like 500MB" in capsys.readouterr().err
