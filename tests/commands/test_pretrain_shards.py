"""`keras-iwm pretrain` on shards."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_iwm.command_line import main
from keras_iwm.commands import pretraining_data

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="what the program calls is tested on each backend elsewhere",
)


def pretrain(shards, output, *options):
    words = ("--preset", "iwm_tiny_32", "--image-size", 16, "--patch-size", 4)
    words += ("--settings", "num_layers=1", "--predictor-layers", 1, "--data", shards)
    words += ("--batch-size", 8, "--epochs", 2, "--evaluate-every", 9, "--output")
    main(["pretrain", *map(str, (*words, output, "--no-measurements", *options))])


def test_pretraining_on_shards_resumes_exactly(tmp_path, monkeypatch, capsys):
    draws = np.random.default_rng(0)
    for number in range(44):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draws.integers(0, 256, (16, 20, 3)).astype("uint8")
        Image.fromarray(pixels).save(path)
    shards = tmp_path / "shards"
    main(
        ["pack", str(path.parents[1]), "--output", str(shards), "--shard-size", "20kB"]
    )
    monkeypatch.setattr(pretraining_data, "MEMORY_LIMIT", 0)  # read while training
    pretrain(shards, tmp_path / "whole")
    pretrain(shards, tmp_path / "part", "--stop-after", 1)
    main(["pretrain", "--resume", str(tmp_path / "part")])
    assert "Resuming after epoch 1" in capsys.readouterr().out
    one, two = (
        keras.models.load_model(tmp_path / name / "model.keras")
        for name in ("whole", "part")
    )
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
