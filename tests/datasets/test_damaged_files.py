import importlib.util
import pathlib

import numpy as np
import pytest

from keras_iwm.datasets import ImageFolder, check_folder
from keras_iwm.datasets.read_files import read_files
from keras_iwm.datasets.read_image import load_image

pytest.importorskip("tifffile")
PROGRAM = pathlib.Path(__file__).parents[2] / "benchmarks" / "fuzz_files.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("fuzz_files", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("error:.*file ")
def test_damaged_files_are_read_or_refused(program):
    result = program.fuzz(300, seed=1)
    assert result["read"] + result["refused"] == 300
    assert min(result["read"], result["refused"]) > 50
    assert result["slowest_seconds"] < 20
    assert not result["late_megabytes"] > result["early_megabytes"] + 60


def test_whole_files_are_read(program, tmp_path):
    """Or the damage of the others would show nothing."""
    for number, (suffix, content) in enumerate(program.make_files(_rng())):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        messages = [read_files([path], (16, 16), c)[1][0] for c in program.CHANNELS]
        assert None in messages, messages


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_do_not_stop_epochs_in_threads(program, tmp_path):
    rng = _rng()
    files = [f for f in program.make_files(rng) if f[0] in (".jpg", ".gif", ".webp")]
    for number in range(220):
        suffix, content = files[number % len(files)]
        if number % 20 == 7:
            content = content[: rng.integers(len(content))]
        (tmp_path / f"{number:03}{suffix}").write_bytes(content)
    dataset = ImageFolder(tmp_path, 8, 22)
    for epoch in range(2):
        dataset.epoch = epoch
        for (images,) in dataset:
            assert images.shape == (22, 8, 8, 3)
    assert 1 <= len(dataset.skipped) <= 11
    report = check_folder(tmp_path, decode_pixels=True)
    assert set(report["bad"]) == set(dataset.skipped)


def test_animated_files_show_their_first_frame(program, tmp_path):
    for number, (suffix, content) in enumerate(program.make_files(_rng())):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
    frames = [11, 13, 16]  # a PNG, a GIF and a WebP of three frames, as they are made
    (still,) = load_files(tmp_path, [4])
    for image in load_files(tmp_path, frames):
        assert np.abs(image.astype(float) - still).mean() < 12


def load_files(folder, numbers):
    found = {int(path.stem): path for path in folder.iterdir()}
    return [np.asarray(load_image(found[number], 3)) for number in numbers]


def _rng():
    return np.random.default_rng(0)
