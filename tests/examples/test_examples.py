"""The example programs do what their text says, on tiny data."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_iwm  # registers what is loaded

once = pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="what the program calls is tested on each backend elsewhere",
)
ROOT = pathlib.Path(__file__).parents[2]
SUMMARY = (
    *("seconds", "images_per_second", "mrr", "mrr_doubled", "mrr_shuffled_action"),
    *("mrr_swapped_image", "hit_at_1", "rankme", "rankme_untrained", "feature_std"),
    *("knn_accuracy", "knn_untrained", "knn_pixels"),
)


def run(script, *arguments, cwd, check=True, launcher=(), **variables):
    program = [*launcher, str(ROOT / "examples" / script)]
    result = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            **variables,
            "KERAS_BACKEND": keras.backend.backend(),
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    if check:
        assert result.returncode == 0, result.stderr[-3000:]
    return result


def test_quickstart_writes_everything_it_promises(tmp_path):
    arguments = ("--epochs", 1, "--num-crops", 256, "--num-evaluation", 2)
    run("quickstart.py", *arguments, cwd=tmp_path)
    folder = tmp_path / "runs" / "quickstart"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["backend"] == keras.backend.backend()
    assert summary["steps"] == 4
    assert summary["conditioning"] == "feature"
    assert summary["encoder"] == "trained"
    np.testing.assert_allclose(summary["mrr_chance"], 0.023924, atol=1e-6)
    for name in SUMMARY:
        assert np.isfinite(summary[name]), name
    header = (folder / "history.csv").read_text().splitlines()[0].split(",")
    logged = {"loss", "mrr", "mrr_chance", "hit_at_1", "rankme", "feature_std"}
    assert logged | {"knn_accuracy"} <= set(header)
    for name in ("views", "retrieval", "patch_pca", "curves"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
    model = keras.models.load_model(folder / "model.keras")
    assert model.encoder.image_size == (32, 32)


def test_stopped_pretraining_resumes_exactly(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "images.npz",
        images=rng.integers(0, 256, (60, 16, 16, 3)).astype("uint8"),
        labels=np.arange(60) % 3,
    )
    options = ("--data", "images.npz", "--image-size", 16, "--patch-size", 4)
    options += ("--batch-size", 16, "--eval-limit", 3)
    options += ("--retrieval-images", 2, "--drop-path-rate", 0.2, "--evaluate-every", 9)
    run("pretrain.py", *options, "--epochs", 2, "--output", "whole", cwd=tmp_path)

    # The same run, stopped after its first epoch: what the second one wrote is undone.
    run(
        "pretrain.py", *options, "--epochs", 2, "--output", "part",
        "--stop-after", 1, cwd=tmp_path,
    )  # fmt: skip
    refused = run(
        "pretrain.py", *options, "--output", "part", cwd=tmp_path, check=False
    )
    assert refused.returncode != 0
    assert "--resume" in refused.stderr
    run("pretrain.py", "--resume", "part", "--tensorboard", cwd=tmp_path)

    models = [
        keras.models.load_model(tmp_path / name / "model.keras")
        for name in ("whole", "part")
    ]
    for one, two in zip(
        models[0].get_weights() + [v.numpy() for v in models[0].optimizer.variables],
        models[1].get_weights() + [v.numpy() for v in models[1].optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    histories = [
        (tmp_path / name / "history.csv").read_text() for name in ("whole", "part")
    ]
    assert histories[0] == histories[1]
    assert [line.split(",")[0] for line in histories[1].splitlines()] == [
        "epoch",
        "0",
        "1",
    ]
    assert "val_" not in histories[0]
    for picture in ("views", "curves"):
        assert (tmp_path / "part" / f"{picture}.png").stat().st_size > 10_000
    summary = json.loads((tmp_path / "part" / "summary.json").read_text())
    assert {"mrr", "mrr_doubled", "ridge_accuracy", "knn_pixels"} <= set(summary)


def test_pretraining_moves_from_two_devices_to_one(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (54, 32, 32, 3)).astype("uint8")
    np.savez(tmp_path / "images.npz", images=images)
    options = ("--data", "images.npz", "--batch-size", 16, "--epochs", 3)
    options += ("--preset", "ijepa_tiny_32", "--output", "run", "--stop-after", 1)
    on_two, launcher = ("--devices", 2), ()
    if keras.backend.backend() == "torch":
        on_two, launcher = (), ("-m", "torch.distributed.run", "--standalone")
        launcher += ("--nproc-per-node", "2")
    flags = os.environ.get("XLA_FLAGS", "")
    run(
        "pretrain.py",
        *options,
        *on_two,
        cwd=tmp_path,
        launcher=launcher,
        XLA_FLAGS=f"{flags} --xla_force_host_platform_device_count=2",
    )
    run("pretrain.py", "--resume", "run", "--stop-after", 1, cwd=tmp_path)
    lines = (tmp_path / "run" / "history.csv").read_text().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("loss", "rankme", "feature_std"):
        assert np.isfinite([float(row[name]) for row in rows]).all()
    paths = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [path.name for path in paths] == ["epoch_0001.keras", "epoch_0002.keras"]
    assert int(keras.models.load_model(paths[1]).optimizer.iterations) == 6


@once
def test_evaluation_writes_report_and_picture(tmp_path):
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=0
    )
    model.save(tmp_path / "model.keras")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    np.savez(tmp_path / "images.npz", images=images)
    arguments = ("model.keras", "--data", "images.npz", "--retrieval-images", 2)
    result = run("evaluate.py", *arguments, "--report", "out/report.json", cwd=tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["num_images"] == 2
    value = report["retrieval"]["bank"]["headline"]["mrr"]["value"]
    assert 0.01 < value < 0.1  # untrained
    printed = next(line for line in result.stdout.splitlines() if "headline" in line)
    assert float(printed.split()[1]) == round(value, 3)
    for name in ("retrieval", "sweep", "undo"):
        picture = tmp_path / "out" / f"report_{name}.png"
        assert picture.stat().st_size > 10_000


@once
def test_interventions_are_printed_drawn_and_written(tmp_path):
    options = ("iwm_tiny_32", "--images", 4, "--train-images", 64)
    result = run("intervene.py", *options, "--report", "out/report.json", cwd=tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["num_photos"] == 3
    slope = report["inside"]["moved"]["mean"]["slope"]["value"]
    assert 0.1 < slope < 1
    assert slope > 2 * abs(report["inside"]["random"]["mean"]["slope"]["value"])
    title = result.stdout.index("All slots, within their range")
    row = result.stdout[title:].split("latents moved")[1]
    assert float(row.split()[0]) == round(slope, 2)
    for name in ("slopes", "images"):
        picture = tmp_path / "out" / f"report_{name}.png"
        assert picture.stat().st_size > 10_000


@once
def test_evaluation_of_dynamics_writes_report_and_pictures(tmp_path):
    encoder = keras_iwm.backbones.ViTEncoder(16, 8, 16, 1, 2)
    keras_iwm.models.LatentDynamicsModel.from_encoder(
        encoder, ("down", "right"), num_frames=3
    ).save(tmp_path / "model.keras")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 3, 16, 16, 3)).astype("uint8")
    actions = rng.uniform(-1, 1, (4, 2, 2))
    np.savez(tmp_path / "clips.npz", frames=frames, actions=actions)
    arguments = ("model.keras", "--data", "clips.npz", "--control", "model.keras")
    result = run("evaluate.py", *arguments, cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["control"] == report["model"]
    assert keras_iwm.evaluation.report_table(report) in result.stdout
    for name in ("rollout", "landscape"):
        assert (tmp_path / f"report_{name}.png").stat().st_size > 10_000
    np.savez(tmp_path / "frames.npz", frames=frames)
    refused = run(
        "evaluate.py", "model.keras", "--data", "frames.npz", cwd=tmp_path, check=False
    )
    assert "holds no ['actions']" in refused.stderr


@once
def test_finetuning_goes_on_with_what_is_missing(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    images = rng.integers(0, 256, (48, 32, 32, 3)).astype("uint8")
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=0
    )
    model.save(tmp_path / "model.keras")
    options = ("model.keras", "--train", "images.npz", "--test", "images.npz")
    options += ("--epochs", 1, "--batch-size", 16, "--mix-up", 0.8, "--output", "out")
    first = ("--protocols", "linear", "low-shot", "random-predictor")
    run("finetune_predictor.py", *options, *first, cwd=tmp_path)
    written = (tmp_path / "out" / "random-predictor.keras").stat().st_mtime_ns
    second = ("--protocols", "linear", "random-predictor", "predictor")
    result = run("finetune_predictor.py", *options, *second, cwd=tmp_path)
    assert (tmp_path / "out" / "random-predictor.keras").stat().st_mtime_ns == written
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["results"]
    assert set(summary) == {"linear", "low-shot", "random-predictor", "predictor"}
    tuned = {name: values.get("tuned_parameters") for name, values in summary.items()}
    assert tuned["linear"] == 96 * 3 + 3
    assert tuned["predictor"] == tuned["random-predictor"]
    for name, values in summary.items():
        assert 0 <= values["accuracy"] <= 1, name
        assert f"{100 * values['accuracy']:.1f} %" in result.stdout
    classifier = keras.models.load_model(tmp_path / "out" / "predictor.keras")
    assert classifier.backbone.protocol == "predictor"
    for weight, copied in zip(
        model.target_encoder.weights, classifier.backbone.encoder.weights, strict=True
    ):
        np.testing.assert_array_equal(weight.numpy(), copied.numpy())
    for picture in ("tuned_parameters", "attention"):
        assert (tmp_path / "out" / f"{picture}.png").stat().st_size > 10_000
    refused = run(
        "finetune_predictor.py", *options, "--seed", 1, cwd=tmp_path, check=False
    )
    assert refused.returncode != 0
    assert "other options" in refused.stderr


@once
def test_tasks_are_learned_together_and_alone(tmp_path):
    # Which channel is bright, and how bright it is: both are there to be seen.
    rng = np.random.default_rng(0)
    for name, size in (("hue", 96), ("light", 48)):
        hue, light = rng.integers(0, 3, size), rng.integers(0, 2, size)
        images = rng.integers(0, 60, (size, 32, 32, 3))
        images[np.arange(size), :, :, hue] += 60 + 120 * light[:, None, None]
        labels = {"hue": hue, "light": light}[name]
        np.savez(tmp_path / f"{name}.npz", images=images.astype("uint8"), labels=labels)
    keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=0
    ).save(tmp_path / "world_model.keras")
    options = ["world_model.keras", "--epochs", 3, "--batch-size", 16]
    options += ["--learning-rate", 3e-3, "--predictor-multiplier", 0.3]
    for name in ("hue", "light"):
        options += ["--task", f"{name}={name}.npz", "--eval", f"{name}={name}.npz"]
    run("multitask.py", *options, cwd=tmp_path)
    run("multitask.py", *options, "--single", "light", "--output", "one", cwd=tmp_path)
    folders = tmp_path / "runs" / "multitask", tmp_path / "one"
    for folder, names in zip(folders, (["hue", "light"], ["light"]), strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["steps"] == 3 * 12  # the larger set, by eights
        assert list(summary["accuracy"]) == names
        for accuracy in summary["accuracy"].values():
            assert accuracy > 0.8
        model = keras.models.load_model(folder / "model.keras")
        assert list(model.heads) == names
        assert len((folder / "history.csv").read_text().splitlines()) == 4


@once
def test_segmentation_writes_what_it_measures(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "eval"):
        for name in ("images", "masks"):
            (tmp_path / part / name).mkdir(parents=True)
        for index in range(8):
            blocks = rng.integers(0, 256, (4, 6)).repeat(12, axis=0).repeat(12, axis=1)
            image = np.stack([blocks] * 3, axis=-1).astype("uint8")
            mask = (blocks > 100).astype("uint8")
            mask[:3] = 9
            Image.fromarray(image).save(tmp_path / part / "images" / f"{index}.jpg")
            Image.fromarray(mask).save(tmp_path / part / "masks" / f"{index}.png")
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False, seed=0
    )
    model.save(tmp_path / "model.keras")
    folders = [
        argument
        for part in ("train", "eval")
        for name in ("images", "masks")
        for argument in (f"--{part}-{name}", f"{part}/{name}")
    ]
    options = ("model.keras", *folders, "--num-classes", 2, "--ignore-label", 9)
    options += ("--image-size", 32, 48, "--batch-size", 4, "--epochs", 2)
    options += ("--class-names", "dark", "bright", "--output", "out")
    result = run("segmentation.py", *options, cwd=tmp_path)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary["iou"]) == {"dark", "bright"}
    np.testing.assert_allclose(
        summary["mean_iou"], np.mean(list(summary["iou"].values())), rtol=1e-6
    )
    assert 0.2 < summary["mean_iou_most_frequent"] < 0.5
    assert f"{100 * summary['mean_iou']:.1f} %" in result.stdout
    assert (tmp_path / "out" / "segmentation.png").stat().st_size > 10_000
    header = (tmp_path / "out" / "history.csv").read_text().splitlines()[0]
    assert header.startswith("epoch,loss,mean_iou")
    segmenter = keras.models.load_model(tmp_path / "out" / "model.keras")
    assert segmenter.backbone.protocol == "predictor"
    images, masks = keras_iwm.datasets.load_segmentation(
        tmp_path / "eval" / "images", tmp_path / "eval" / "masks", (32, 48)
    )
    again = segmenter.evaluate(
        images, masks, batch_size=4, verbose=0, return_dict=True
    )["mean_iou"]
    np.testing.assert_allclose(again, summary["mean_iou"], atol=2e-3)


@once
def test_the_world_in_motion_is_summed_up_over_seeds(tmp_path):
    options = ("--steps", 2, "--clips", 4, "--scenes", 2, "--samples", 10)
    options = (*options, "--pairs", 4, "--frames", 5)
    first = run("world_in_motion.py", *options, "--seeds", 1, cwd=tmp_path)
    assert "Seed 0, control" in first.stdout
    folder = tmp_path / "runs" / "world_in_motion"
    written = (folder / "seed_0" / "report.json").stat().st_mtime_ns
    second = run("world_in_motion.py", *options, "--seeds", 2, cwd=tmp_path)
    assert (folder / "seed_0" / "report.json").stat().st_mtime_ns == written
    assert "Seed 0, control" not in second.stdout
    reports = [
        json.loads((folder / f"seed_{seed}" / "report.json").read_text())
        for seed in range(2)
    ]
    summary = json.loads((folder / "summary.json").read_text())
    found = summary["MRR of the next action"]["true_action"]["control"]
    ranks = [report["dynamics"]["control"]["actions"] for report in reports]
    expected = np.mean([rank["true_action"]["mrr"]["value"] for rank in ranks])
    np.testing.assert_allclose(found["mean"], expected)
    assert found["low"] < found["mean"] < found["high"]
    pixels = summary["Pixels from the goal, four, replanned"]
    assert {"cross-entropy", "cross-entropy, control", "no_action"} <= set(pixels)
    shares = [
        report["surprise"]["control"]["events"]["jumps"]["accuracy"]["prediction"]
        for report in reports
    ]
    np.testing.assert_allclose(
        summary["Pairs told apart by surprise"]["jumps"]["control"]["mean"],
        np.mean([share["value"] for share in shares]),
    )
    table = (folder / "table.md").read_text()
    assert f"{found['mean']:.3f} ±" in table
    assert table in second.stdout
    for name in ("rollout", "landscape", "plan", "surprise"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
    refused = run(
        "world_in_motion.py", *options[2:], "--seeds", 1, cwd=tmp_path, check=False
    )
    assert "other options" in refused.stderr


@once
def test_images_are_completed_from_their_first_patches(tmp_path):
    options = ("--limit", 64, "--epochs", 1, "--order", "spiral")
    printed = run("complete_images.py", *options, cwd=tmp_path).stdout
    folder = tmp_path / "runs" / "complete_images"
    for name in ("possible", "likely"):
        assert f"{name}.png" in printed
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > picture.height / 2
    model = keras.models.load_model(folder / "model.keras")
    assert model.order == "spiral"
    assert not model.normalize_targets
