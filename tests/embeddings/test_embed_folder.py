import csv
import os
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.backbones import ViTEncoder
from keras_iwm.datasets import ImageFolder
from keras_iwm.embeddings import embed_folder, load_embeddings
from keras_iwm.embeddings.shards import Shards

DRAWS = np.random.default_rng(0)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return ViTEncoder(16, 8, 24, 1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of ten images each, one of which is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("cats", "dögs"):
        (folder / name).mkdir()
        for number in range(10):
            pixels = DRAWS.integers(0, 256, (20, 24, 3), "uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    (folder / "cats" / "4.png").write_bytes(b"no image")
    return folder


def expected(encoder, folder, pooled=True):
    """Names, labels and features of the good files, read and embedded otherwise."""
    images = ImageFolder(folder, 16, batch_size=20, shuffle=False)
    pixels, labels = images.load()
    names = [f"{name}/{n}.png" for name in ("cats", "dögs") for n in range(10)]
    names.remove("cats/4.png")
    latents = encoder.predict(pixels, verbose=0)
    return names, labels, latents.mean(axis=1) if pooled else latents


@pytest.mark.filterwarnings("ignore:1 of 20 image files")
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("per_patch", [False, True])
def test_rows_names_and_labels_belong_together(
    encoder, folder, tmp_path, suffix, per_patch
):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"out{suffix}"
    found = embed_folder(encoder, folder, output, per_patch, 8, encoder_name="mine")
    names, labels, features = expected(encoder, folder, not per_patch)
    assert found["num_images"] == 19
    bad = str(folder / "cats" / "4.png")
    assert list(found["skipped"]) == [bad]
    with open(tmp_path / f"out{suffix}.skipped.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["path", "reason"], [bad, found["skipped"][bad]]]
    table = load_embeddings(output)
    assert table["names"].tolist() == names
    np.testing.assert_array_equal(table["labels"], labels)
    assert table["class_names"] == ["cats", "dögs"]
    assert table["embeddings"].shape == features.shape
    np.testing.assert_allclose(table["embeddings"], features, atol=1e-5)
    assert table["settings"]["encoder_name"] == "mine"
    assert table["settings"]["folder"] == str(folder)
    assert sorted(os.listdir(tmp_path)) == [f"out{suffix}", f"out{suffix}.skipped.csv"]


@pytest.mark.filterwarnings("ignore:1 of 20 image files")
def test_numpy_reads_the_file_and_numbers_may_be_halved(encoder, folder, tmp_path):
    embed_folder(encoder, folder, tmp_path / "out.npz", batch_size=7, dtype="float16")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["embeddings"].dtype == np.float16
        features = expected(encoder, folder)[2]
        np.testing.assert_allclose(arrays["embeddings"], features, atol=4e-3)
        assert set(arrays.files) == {
            *("names", "embeddings", "labels", "class_names", "settings")
        }


class Killed(Exception):
    """What ends a run in the test."""


@pytest.mark.filterwarnings("ignore:1 of 20 image files")
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    encoder, folder, tmp_path, suffix, monkeypatch
):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(sys.modules[embed_folder.__module__], "_SHARD_IMAGES", 6)
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    embed_folder(encoder, folder, whole, batch_size=3)
    append = Shards.append

    def kill(self, *arrays):
        append(self, *arrays)
        raise Killed

    for _ in range(3):  # of four parts, one a start
        with monkeypatch.context() as patch:
            patch.setattr(Shards, "append", kill)
            with pytest.raises(Killed):
                embed_folder(encoder, folder, part, batch_size=3)
    with pytest.raises(ValueError, match="batch_size=3.*Received: batch_size=4"):
        embed_folder(encoder, folder, part, batch_size=4)
    found = embed_folder(encoder, folder, part, batch_size=3)
    assert len(found["skipped"]) == 1  # by an earlier start
    assert part.read_bytes() == whole.read_bytes()
    with pytest.raises(ValueError, match="`output` must not be there yet"):
        embed_folder(encoder, folder, part)


def test_a_bad_file_may_end_it_and_a_row_that_is_not_finite_does(folder, tmp_path):
    encoder = ViTEncoder(16, 8, 24, 1, 2)
    with pytest.raises(ValueError, match="cats/4.png"):
        embed_folder(encoder, folder, tmp_path / "out.npz", bad_files="raise")
    encoder.norm.beta.assign(np.full(24, np.nan))
    with (
        pytest.warns(UserWarning, match="1 of 20 image files"),
        pytest.raises(ValueError, match="cats/0.png are not"),
    ):
        embed_folder(encoder, folder, tmp_path / "other.npz")
    # Other values than the model's are refused as well.
    scaled = ViTEncoder(16, 8, 24, 1, 2, value_range=(0, 1))
    with (
        pytest.warns(UserWarning, match="1 of 20"),
        pytest.raises(ValueError, match="`folder` must lie in the model's value_range"),
    ):
        embed_folder(scaled, folder, tmp_path / "other.npz")


def test_a_damaged_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", names=["a"], embeddings=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="other.npz is damaged or another file"):
        load_embeddings(tmp_path / "other.npz")
    np.savez(tmp_path / "code.npz", names=np.array([object()]), embeddings=np.zeros(3))
    with pytest.raises(ValueError, match="code.npz is damaged or another file"):
        load_embeddings(tmp_path / "code.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:300])
    with pytest.raises(ValueError, match="cut.npz is damaged or another file"):
        load_embeddings(tmp_path / "cut.npz")


def test_embeddings_stay_on_the_disk(encoder, folder, tmp_path):
    with pytest.warns(UserWarning, match="1 of 20"):
        embed_folder(encoder, folder, tmp_path / "out.npz")
    embeddings = load_embeddings(tmp_path / "out.npz")["embeddings"]
    assert isinstance(embeddings, np.memmap)
    assert not embeddings.flags.writeable
