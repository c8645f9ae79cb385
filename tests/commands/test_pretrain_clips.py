"""`keras-iwm pretrain` on a folder of clips."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.command_line import main

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="what the program calls is tested on each backend elsewhere",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of eleven clips of six frames, each a folder."""
    folder = tmp_path_factory.mktemp("clips")
    draws = np.random.default_rng(0)
    for clip in range(22):
        place = folder / "ab"[clip % 2] / f"clip{clip}"
        place.mkdir(parents=True)
        for number in range(6):
            pixels = draws.integers(0, 256, (16, 20, 3)).astype("uint8")
            Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def pretrain(folder, output, *options):
    words = ("--preset", "vjepa_tiny_64", "--image-size", 16, "--num-frames", 4)
    words += ("--patch-size", 4)
    words += ("--settings", "num_layers=1", "predictor_layers=1", "--data", folder)
    words += ("--batch-size", 6, "--frame-stride", 1, "--clips-per-video", 2)
    words += ("--epochs", 2, "--evaluate-every", 9, "--output", output)
    main(["pretrain", *map(str, (*words, *options))])


def test_stopped_pretraining_resumes_exactly(folder, tmp_path, capsys):
    pretrain(folder, tmp_path / "whole")
    pretrain(folder, tmp_path / "part", "--stop-after", 1)
    main(["pretrain", "--resume", str(tmp_path / "part")])
    assert "Resuming after epoch 1" in capsys.readouterr().out
    one, two = (
        keras.models.load_model(tmp_path / name / "model.keras")
        for name in ("whole", "part")
    )
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    histories = [
        (tmp_path / name / "history.csv").read_text() for name in ("whole", "part")
    ]
    assert histories[0] == histories[1]
    assert len(histories[0].splitlines()) == 3
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    for name in ("clips_per_second", "knn_accuracy", "knn_pixels", "ridge_untrained"):
        assert np.isfinite(summary[name])
    assert summary["steps"] == 2 * 6  # of 40 clips of 20 videos, 18 are trained on


def test_a_limit_is_for_images(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        pretrain(folder, tmp_path / "run", "--limit", 3)
    assert "folders of clips are read whole" in capsys.readouterr().err
