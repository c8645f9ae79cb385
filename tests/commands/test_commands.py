"""`keras-iwm embed` and `search`; the other commands are tested as examples."""

import os
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.command_line import COMMANDS, main
from keras_iwm.commands.pretrain import neighbors
from keras_iwm.embeddings import embed_folder
from keras_iwm.models import ImageWorldModel

ROOT = pathlib.Path(__file__).parents[2]
once = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="once is enough, and starts are slow"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and photos of three plain colours, ten of each."""
    place = tmp_path_factory.mktemp("place")
    ImageWorldModel.from_preset("iwm_tiny_32", False, seed=0).save(
        place / "model.keras"
    )
    draws = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (place / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = draws.integers(0, 60, (40, 40, 3))
            pixels[..., channel] += 150
            path = place / "photos" / name / f"{number}.png"
            Image.fromarray(pixels.astype("uint8")).save(path)
    return place


def embed(place, output, *options):
    arguments = ["embed", place / "photos", "--model", place / "model.keras"]
    return main([str(a) for a in (*arguments, "--output", output, *options)])


def test_the_nearest_images_are_printed_and_drawn(place, tmp_path, capsys):
    assert embed(place, tmp_path / "out.npz") is None
    assert "30 images" in capsys.readouterr().out
    query = place / "photos" / "green" / "3.png"
    picture = tmp_path / "near.png"
    options = ["--neighbors", "4", "--output", str(picture)]
    main(["search", str(tmp_path / "out.npz"), str(query), *options])
    captured = capsys.readouterr()
    assert f"Backend: {keras.backend.backend()}" in captured.err
    lines = [line.split("\t") for line in captured.out.splitlines()[:4]]
    assert lines[0] == ["1.0000", "green/3.png", "green"]
    assert {line[2] for line in lines} == {"green"}
    similarities = [float(line[0]) for line in lines]
    assert similarities == sorted(similarities, reverse=True)
    assert picture.stat().st_size > 10_000


@once
def test_the_folder_of_a_run_stands_for_its_model(place, tmp_path):
    arguments = ["embed", place / "photos", "--output", tmp_path / "out.npz"]
    assert main([str(part) for part in (*arguments, "--model", place)]) is None
    embed(place, tmp_path / "other.npz")
    files = [np.load(tmp_path / name) for name in ("out.npz", "other.npz")]
    np.testing.assert_array_equal(*(file["embeddings"] for file in files))


@once
def test_without_a_command_all_are_told(capsys):
    assert main([]) == 2
    words = capsys.readouterr().err
    assert all(f"  {name} " in words for name in COMMANDS)


@once
def test_neighbours_that_vote_are_fewer_than_a_class_has():
    assert neighbors(np.repeat([0, 1], [3, 50])) == 2
    assert neighbors(np.repeat([0, 1], [1, 50])) == 1
    assert neighbors(np.repeat([0, 1], [60, 50])) == 10
    assert neighbors(None) == 1


def test_what_does_not_fit_ends_with_a_word(place, tmp_path):
    output = tmp_path / "out.npz"
    query = str(place / "photos" / "red" / "0.png")
    embed(place, output, "--per-patch", "--dtype", "float16")
    with pytest.raises(SystemExit, match="is there already"):
        embed(place, output)
    with pytest.raises(SystemExit, match="without --per-patch"):
        main(["search", str(output), query])
    with pytest.raises(SystemExit, match="must be a file"):
        main(["embed", "photos", "--model", "none.keras", "--output", "a.npz"])
    with pytest.raises(SystemExit, match="`path` must be a .npz or .parquet"):
        main(["search", query, query])
    other = tmp_path / "other.keras"
    ImageWorldModel.from_preset("iwm_tiny_32", False, seed=1).save(other)
    embed(place, tmp_path / "pooled.npz")
    with pytest.raises(SystemExit, match="not the model that the embeddings were"):
        main(["search", str(tmp_path / "pooled.npz"), query, "--model", str(other)])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_what_it_takes(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: keras-iwm {name}" in capsys.readouterr().out


@once
def test_a_killed_process_is_gone_on_with_and_the_bytes_are_the_same(
    place, tmp_path, monkeypatch
):
    # Parts of four images: the process is killed once two of them are there.
    module = embed_folder.__module__
    monkeypatch.setattr(sys.modules[module], "_SHARD_IMAGES", 4)
    code = (
        f"import sys, {module}; sys.modules[{module!r}]._SHARD_IMAGES = 4; "
        "from keras_iwm.command_line import main; main(sys.argv[1:])"
    )
    words = ["embed", place / "photos", "--model", place / "model.keras"]
    words += ["--output", tmp_path / "part.npz", "--batch-size", 2]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / "part.npz.unfinished"
    while process.poll() is None and not (part / "shard_000001.npz").is_file():
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert 2 <= len(list(part.glob("shard_*.npz"))) < 8
    for output in ("part.npz", "whole.npz"):
        embed(place, tmp_path / output, "--batch-size", "2")
    assert (tmp_path / "part.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not part.exists()
