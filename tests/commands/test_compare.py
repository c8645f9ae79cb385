"""Methods compared at equal compute: what is run, what is not run twice, the table."""

import json
import pathlib

import numpy as np
import pytest

from keras_iwm.command_line import main
from keras_iwm.commands import compare, compare_runs, pretrain
from keras_iwm.commands.compare_table import markdown_table, summarize
from keras_iwm.evaluation import flops_per_image
from keras_iwm.models import ImageWorldModel, MaskedAutoencoder, method_of
from keras_iwm.saving import load_model

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder, gone to, with images of two classes to train and to test on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    draws = np.random.default_rng(0)
    for name, count in (("train", 64), ("test", 20)):
        labels = np.arange(count) % 2
        images = draws.integers(0, 120, (count, 32, 32, 3))
        images[labels == 1] += 100
        np.savez(f"{name}.npz", images=images.astype("uint8"), labels=labels)
    return tmp_path


OPTIONS = ["--data", "train.npz", "--eval-data", "test.npz"]
IWM, MAE = "iwm:predictor_layers=1,learning_rate=0.001", "mae:predictor_layers=1"
TINY = [*OPTIONS, "--methods", IWM, MAE, "--batch-size", "8", "--seeds", "1"]
TINY += ["--probe-images", "64", "--probe-epochs", "1", "--retrieval-images", "2"]
TINY += ["--action-pairs", "16", "--epochs-of", f"{IWM}:2"]


def run(*options):
    return main(["compare", *map(str, options)])


def test_a_stopped_comparison_goes_on(place, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    # One method is trained, the other is stopped in the midst of it.
    output = pathlib.Path("runs/compare")
    first = output / "iwm_predictor_layers=1,learning_rate=0.001_seed_0"
    second = output / "mae_predictor_layers=1_seed_0"
    arguments = compare.parse_arguments(TINY)
    methods = compare.plan(arguments)
    pretrain.main(compare.training_words(methods[0], arguments, 0, first))
    words = compare.training_words(methods[1], arguments, 0, second)
    pretrain.main([*words, "--stop-after", "1"])
    assert not (second / "model.keras").exists()
    # Ctrl-C when the first one's probes are behind.
    with monkeypatch.context() as patch:
        patch.setattr(compare_runs, "knowledge", stop)
        with pytest.raises(KeyboardInterrupt):
            run(*TINY)
    done = [first / "model.keras", first / "accuracies" / "summary.json"]
    times = [path.stat().st_mtime_ns for path in done]

    run(*TINY)
    assert [path.stat().st_mtime_ns for path in done] == times
    assert "Resuming after epoch 1" in (second / "log.txt").read_text()
    comparison = json.loads((output / "comparison.json").read_text())
    runs = {name: by_seed["0"] for name, by_seed in comparison["runs"].items()}
    assert list(runs) == [IWM, MAE, "untrained"]
    world_model = ImageWorldModel.from_preset("iwm_tiny_32", False, predictor_layers=1)
    budget = 2 * 64 * flops_per_image(world_model, training=True)
    for name in (IWM, MAE):
        assert abs(runs[name]["flops"] / budget - 1) < 0.05  # half a batch of ten
    assert runs[IWM]["images"] == 128
    everywhere = {"knn", "linear", "attentive", "one_percent", "finetuned"}
    everywhere |= {"action_r2", "action_r2_mlp", "rankme"}
    for name, found in runs.items():
        assert everywhere <= set(found), name
        assert np.isfinite(list(found.values())).all(), name
        # Of an untrained predictor nothing is said, and none is told an action in MAE.
        assert ("predictor_finetuned" in found) == (name != "untrained")
        assert ("mrr" in found) == (name == IWM)
    assert comparison["pixels"]["linear"] == 1.0
    table = (output / "comparison.md").read_text()
    assert table in capsys.readouterr().out
    assert "| pixels | 1 |" in table
    assert (output / "comparison.png").stat().st_size > 10_000
    model = load_model(second / "model.keras")
    assert isinstance(model, MaskedAutoencoder)
    assert (second / "views.png").is_file()

    with pytest.raises(SystemExit, match="comparison of other options"):
        run(*TINY, "--probe-images", "65")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["mo"], "there is no mo_tiny_32. Methods: iwm, "),
        (["iwm", "iwm"], "the same one twice"),
        (["mae:conditioning=none"], "conditioning: of no use to mae_tiny_32"),
        (["iwm:predictor_layers"], "'predictor_layers' is not NAME=VALUE"),
        (["iwm:conditioning=some"], "`conditioning` must be one of"),
        (["ijepa:conditioning=feature"], "is I-JEPA"),
    ],
)
def test_methods_that_cannot_be_are_refused_before_any_is_trained(methods, message):
    with pytest.raises(SystemExit, match=message):
        run(*OPTIONS, "--flops", "1e9", "--methods", *methods)


def test_epochs_must_be_of_one_of_the_methods(place):
    for words in ("mae:3", "iwm:many", "3"):
        with pytest.raises(SystemExit, match="--epochs-of must be one of --methods"):
            run(*OPTIONS, "--methods", "iwm", "--epochs-of", words)


def test_pretrain_refuses_what_a_method_has_no_use_for(capsys):
    for words in (["--conditioning", "none"], ["--ema-momentum", "0.9"]):
        with pytest.raises(SystemExit):
            main(["pretrain", "--data", "photos", "--preset", "mae_tiny_32", *words])
        assert "of no use to mae_tiny_32, a Masked" in capsys.readouterr().err


def test_the_class_follows_from_the_name():
    assert method_of("ijepa_tiny_32") is ImageWorldModel
    assert method_of("mae_tiny_32") is MaskedAutoencoder
    with pytest.raises(ValueError, match="`preset` must be one of"):
        method_of("tiny_32")


def test_table_has_means_and_intervals_of_the_seeds():
    runs = {
        "iwm": {
            seed: {"linear": value, "mrr": 0.25, "rankme": 22.0}
            for seed, value in enumerate((0.4, 0.5, 0.6))
        },
        "untrained": {0: {"linear": 0.3, "rankme": 9.0}},
    }
    summary = summarize(runs)
    np.testing.assert_allclose(
        summary["iwm"]["linear"]["low"], 0.5 - 0.24843, atol=1e-4
    )
    header, _, iwm, untrained = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown_table(summary)
    )
    row = dict(zip(header, iwm, strict=True))
    assert row["seeds"] == "3"
    assert row["linear %"] == "50.0 ± 24.8"
    assert row["MRR"] == "0.250 ± 0.000"
    assert row["RankMe"] == "22.0 ± 0.0"
    assert row["kNN %"] == "–"
    row = dict(zip(header, untrained, strict=True))
    assert (row["seeds"], row["linear %"], row["RankMe"]) == ("1", "30.0", "9.0")
