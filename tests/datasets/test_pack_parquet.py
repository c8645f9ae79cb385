"""Parquet files as the Hugging Face Hub has them become shards, image for image."""

import io
import json

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from keras_iwm.command_line import main
from keras_iwm.datasets import ImageShards, check_shards, pack_parquet, parquet_images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype("uint8")
LABELS = np.arange(40) % 3
NOTES = {"info": {"features": {"label": {"names": ["cat", "dog", "owl", "ox"]}}}}


def encoded(pixels, format="PNG"):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def write(path, images, labels=None, column="image", noted=None, **options):
    """Write a Parquet file of small row groups."""
    table = {column: images}
    if labels is not None:
        table["label"] = labels
    table = pyarrow.table(table)
    if noted is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(noted)})
    parquet.write_table(table, path, row_group_size=6, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files, as `datasets` writes them: structures of bytes and a path."""
    folder = tmp_path_factory.mktemp("parquet")
    images = [{"bytes": encoded(p), "path": f"{i}.png"} for i, p in enumerate(PIXELS)]
    for number, part in enumerate((slice(0, 25), slice(25, 40))):
        name = f"train-0000{number}-of.00002.parquet"
        write(folder / name, images[part], LABELS[part], noted=NOTES)
    return folder


def by_name(shards):
    """Pixels and labels, by the name of an image."""
    dataset = ImageShards(shards, 16, batch_size=1, shuffle=False, bad_files="raise")
    images, labels = dataset.load()
    labels = [None] * len(images) if labels is None else labels
    names = [dataset.paths.name(row) for row in range(len(images))]
    return {
        name: (image.tolist(), label)
        for name, image, label in zip(names, images, labels, strict=True)
    }


def test_all_rows_come_with_their_labels_and_names(folder, tmp_path):
    manifest = pack_parquet(folder, tmp_path, 20_480)
    assert manifest["num_images"] == 40
    assert manifest["class_names"] == ["cat", "dog", "owl", "ox"]
    assert len(manifest["shards"]) > 2
    found = by_name(tmp_path)
    for row, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        number, place = (0, row) if row < 25 else (1, row - 25)
        name = f"train-0000{number}-of%2E00002-{place:08d}.png"
        assert found[name] == (pixels.tolist(), label)
    assert len(found) == 40
    assert check_shards(tmp_path)["bad"] == {}
    dataset = ImageShards(tmp_path, 16, batch_size=1, shuffle=False)
    order = [dataset.paths.name(row) for row in range(40)]
    assert order != sorted(order)


def test_the_same_call_makes_the_same_bytes(folder, tmp_path):
    contents = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        pack_parquet(folder, tmp_path / name, 20_480, seed)
        contents.append((tmp_path / name / "images-000000.tar").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_few_row_groups_are_held_at_once(folder, tmp_path, monkeypatch):
    whole = pack_parquet(folder, tmp_path / "whole", 10**6)
    monkeypatch.setattr(parquet_images, "WINDOW", 5 * 1024)
    images = parquet_images.ParquetImages(sorted(folder.iterdir()))
    order = images.order(np.random.default_rng(0))
    assert sorted(order) == list(range(40))
    read, most = [], 0
    images_read = images._read
    monkeypatch.setattr(
        images, "_read", lambda place: read.append(place) or images_read(place)
    )
    for index in order:
        with images.open(index) as file:
            assert file.read() == encoded(PIXELS[index])
        most = max(most, len(images._held))
    assert sorted(read) == list(range(len(images._groups)))  # each once
    assert most < len(images._groups)
    small = pack_parquet(folder, tmp_path / "small", 10**6)
    assert small["num_images"] == whole["num_images"]
    assert by_name(tmp_path / "small") == by_name(tmp_path / "whole")


def test_rows_that_are_no_images_are_named(tmp_path):
    images = [encoded(PIXELS[0], "JPEG"), None, b"", b"no image", encoded(PIXELS[1])]
    write(tmp_path / "a.parquet", images, column="photo")
    with pytest.warns(UserWarning, match=r"2 rows without an image .* a-00000001"):
        manifest = pack_parquet(tmp_path / "a.parquet", tmp_path / "out")
    assert manifest["num_images"] == 2
    assert manifest["class_names"] is None
    assert set(by_name(tmp_path / "out")) == {"a-00000000.jpg", "a-00000004.png"}


@pytest.mark.parametrize("label", [-1, None])
def test_labels_count_if_all_images_have_one(label, tmp_path):
    write(tmp_path / "a.parquet", [encoded(PIXELS[0])] * 2, [1, label])
    with pytest.warns(UserWarning, match="labels, for not all images have one"):
        manifest = pack_parquet(tmp_path / "a.parquet", tmp_path / "out")
    assert manifest["class_names"] is None


def test_classes_without_names_have_numbers(tmp_path):
    write(tmp_path / "a.parquet", [encoded(PIXELS[0])] * 2, [0, 2])
    manifest = pack_parquet(tmp_path / "a.parquet", tmp_path / "out")
    assert manifest["class_names"] == ["0", "1", "2"]


def test_what_cannot_be_packed_is_refused(folder, tmp_path):
    output, image = tmp_path / "out", encoded(PIXELS[0])
    with pytest.raises(ValueError, match="`parquet` must be a Parquet file"):
        pack_parquet(tmp_path / "none", output)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read"):
        pack_parquet(tmp_path / "b.parquet", output)
    write(tmp_path / "b.parquet", ["text"], [1])
    with pytest.raises(ValueError, match="`image_column`.*there are: none"):
        pack_parquet(tmp_path / "b.parquet", output)
    write(tmp_path / "b.parquet", [b"no image"])
    with pytest.raises(ValueError, match="`parquet` must hold images"):
        pack_parquet(tmp_path / "b.parquet", output)
    write(tmp_path / "a.parquet", [image], [1])
    with pytest.raises(ValueError, match="files of one schema"):
        pack_parquet(tmp_path, output)
    with pytest.raises(ValueError, match="`image_column`.*there are: image"):
        pack_parquet(tmp_path / "a.parquet", output, image_column="label")
    with pytest.raises(ValueError, match="`label_column`.*there are: label"):
        pack_parquet(tmp_path / "a.parquet", output, label_column="image")
    assert not output.exists()


def test_columns_are_chosen_by_name(tmp_path):
    images = [encoded(pixels) for pixels in PIXELS[:4]]
    table = {"left": images[:2], "right": images[2:], "kind": [3, 1]}
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="there are: left, right"):
        pack_parquet(tmp_path / "a.parquet", tmp_path / "out")
    options = ["--image-column", "right", "--label-column", "kind"]
    output = str(tmp_path / "out")
    main(["pack", str(tmp_path / "a.parquet"), "--output", output, *options])
    assert by_name(output) == {
        "a-00000000.png": (PIXELS[2].tolist(), 3),
        "a-00000001.png": (PIXELS[3].tolist(), 1),
    }


def test_the_command_knows_parquet_by_its_name(folder, tmp_path, capsys):
    main(["pack", str(folder), "--output", str(tmp_path)])
    assert "40 images in 1 shards" in capsys.readouterr().out
