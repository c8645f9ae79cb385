import numpy as np
import pytest
from PIL import Image

from keras_iwm.command_line import main
from keras_iwm.datasets import check_folder


@pytest.fixture
def folder(tmp_path):
    """Two classes: pictures of several kinds, and what goes wrong with them."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
    rgb = Image.fromarray(np.full((20, 30, 3), 70, "uint8"))
    rgb.save(root / "cat" / "a.jpg")
    rgb.save(root / "dog" / "a.jpg")
    rgb.convert("L").resize((5, 4)).save(root / "cat" / "A.png")
    Image.fromarray(np.full((50, 40), 9, "uint16")).save(root / "dog" / "deep.png")
    np.save(root / "dog" / "bands.npy", np.zeros((30, 20, 12), "float32"))
    (root / "dog" / "empty.gif").write_bytes(b"")
    Image.new("1", (8100, 8100)).save(root / "dog" / "bomb.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype("uint8")
    Image.fromarray(noise).save(root / "cat" / "cut.png")
    content = (root / "cat" / "cut.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(content[:2000])
    (root / "dog" / ".DS_Store").write_bytes(b"x")
    return root


def test_the_report_counts_what_is_there(folder):
    report = check_folder(folder)
    assert report["num_images"] == 8
    assert report["classes"] == {"cat": 3, "dog": 5}
    assert report["suffixes"] == {".png": 4, ".jpg": 2, ".npy": 1, ".gif": 1}
    assert report["formats"] == {"PNG": 3, "JPEG": 2, "NPY": 1}
    modes = {"RGB": 3, "L": 1, "I;16": 1, "12 x float32": 1}
    assert report["modes"] == modes
    assert report["bits"] == {8: 4, 16: 1, 32: 1}
    assert report["sizes"][30, 20] == 2
    assert report["smallest"] == ((5, 4), str(folder / "cat" / "A.png"))
    assert report["largest"] == ((40, 50), str(folder / "dog" / "deep.png"))
    assert report["left_out"] == {"hidden files and folders": (1, "dog/.DS_Store")}
    assert report["lost"] == []
    assert report["same_names"] == {"a.jpg": 2}
    assert report["same_stems"] == {"cat/a": 2}
    bad = {
        str(folder / "dog" / "bomb.png"): "it has 8100 x 8100 pixels, more than "
        "max_pixels=64000000",
        str(folder / "dog" / "empty.gif"): "it is empty",
    }
    assert report["bad"] == bad
    decoded = check_folder(folder, decode_pixels=True)
    assert set(decoded["bad"]) == {*bad, str(folder / "cat" / "cut.png")}


def test_the_command_prints_it_and_says_how_it_went(folder, capsys):
    assert main(["check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "8 images in 2 classes\n" in printed
    assert "modes: RGB: 3," in printed
    assert "2 bad files\n" in printed
    assert "empty.gif: it is empty\n" in printed
    assert main(["check", "--decode", str(folder)]) == 1
    assert "3 bad files\n" in capsys.readouterr().out
    for name in ("bomb.png", "empty.gif"):
        (folder / "dog" / name).unlink()
    assert main(["check", str(folder)]) == 0
    (folder / "dog" / "photo.heic").write_bytes(b"x")
    assert main(["check", str(folder)]) == 1
    assert main(["check", str(folder / "missing")]) == 2
    assert "must be an existing folder" in capsys.readouterr().err
