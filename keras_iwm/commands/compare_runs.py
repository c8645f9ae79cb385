"""What `keras-iwm compare` does with one run: train it, then measure it."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np

from keras_iwm import callbacks, datasets, downstream, evaluation, saving
from keras_iwm.commands import finetune_predictor
from keras_iwm.commands.program import is_whole, write_json
from keras_iwm.evaluation.bank_ranking import predicts_actions
from keras_iwm.metrics.rank_me import rank_me
from keras_iwm.views.view_generator import ViewGenerator

# Protocols of `keras-iwm finetune-predictor`, and what the comparison calls them.
ACCURACIES = {
    "knn": "knn",
    "linear": "linear",
    "attentive": "attentive",
    "low-shot": "one_percent",
    "encoder": "finetuned",
    "predictor": "predictor_finetuned",
}
LARGEST_PIXELS = 32  # pixels to a side, in which raw images are classified


def train(folder, words):
    """Train in a process of its own, or go on with a run that was stopped.

    Args:
        folder: `pathlib.Path` of the run.
        words: List of strings, options of `keras-iwm pretrain`.
    """
    if (folder / "summary.json").is_file():
        return
    if callbacks.RunCheckpoint.latest(folder / "checkpoints") and is_whole(
        folder / "config.json"
    ):
        words = ["--resume", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with open(log, "a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_iwm", "pretrain", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
            start_new_session=True,  # A signal reaches it once, from here.
        )
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()  # It saves.
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
    if code:
        lines = log.read_text(errors="replace").splitlines()[-10:]
        words = f"Training ended with code {code}: see {log}"
        print(*lines, words, sep="\n", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)


def measure(folder, settings, seed, is_control=False):
    """Measure the model of a run, or read what was measured.

    Args:
        folder: `pathlib.Path` of the run, with `model.keras`.
        settings: Dictionary, the options of the comparison.
        seed: Integer, of the choice of images and of the probes.
        is_control: Boolean, whether to leave out its predictor, which has learned
            nothing.

    Returns:
        Dictionary of numbers by name.
    """
    path = folder / "measured.json"
    if is_whole(path):
        return json.loads(path.read_text())
    model = saving.load_model(folder / "model.keras")
    protocols = set(ACCURACIES) & set(finetune_predictor.possible_protocols(model))
    if is_control:
        protocols.discard("predictor")
    with open(folder / "log.txt", "a") as log, contextlib.redirect_stdout(log):
        results = accuracies(folder, protocols, settings, seed)
        images = [
            load_images(settings, part, model.image_size, seed)[0]
            for part in ("train", "test")
        ]
        results |= knowledge(model, *images, settings)
        if predicts_actions(model) and not is_control:
            retrieval = images[1][: settings["retrieval_images"]]
            found = evaluation.evaluate_world_model(model, retrieval, verbose=False)
            results |= {name: found[name] for name in found if name.startswith("mrr")}
    results["updates"] = int(model.optimizer.iterations) if model.compiled else 0
    write_json(path, results)
    return results


def accuracies(folder, protocols, settings, seed):
    """Return the accuracy by each protocol; `finetune-predictor` keeps them itself."""
    words = [folder / "model.keras", "--train", settings["data"]]
    words += ["--test", settings["eval_data"], "--limit", settings["probe_images"]]
    words += ["--test-limit", settings["eval_limit"], "--seed", seed]
    words += ["--epochs", settings["probe_epochs"], "--output", folder / "accuracies"]
    ordered = [name for name in ACCURACIES if name in protocols]
    words = [str(word) for word in (*words, "--protocols", *ordered)]
    found, _ = finetune_predictor.run_protocols(
        finetune_predictor.parse_arguments(words)
    )
    return {ACCURACIES[name]: found[name]["accuracy"] for name in ordered}


def knowledge(model, train_images, test_images, settings):
    """Return the rank of the features, and what they tell of the default actions."""
    encoder = model.feature_encoder
    views = ViewGenerator(
        encoder.image_size,
        crop=None,
        num_channels=encoder.num_channels,
        value_range=encoder.value_range,
    )
    found = evaluation.action_r2(
        model,
        train_images,
        test_images,
        settings["action_pairs"],
        verbose=False,
        view_generator=views,
    )
    features = evaluation.extract_features(encoder, test_images, verbose=False)
    results = {"rankme": float(rank_me(features))}
    for name, probe in (("action_r2", "linear"), ("action_r2_mlp", "mlp")):
        values = [slot["value"] for slot in found[probe].values()]
        results[name] = float(np.nanmean(values))
    return results


def measure_pixels(path, settings, image_size):
    """Classify raw pixels, of at most 32 pixels to a side, or read what was found.

    Args:
        path: `pathlib.Path` of the file for what is found.
        settings: Dictionary, the options of the comparison.
        image_size: Height and width of the images.

    Returns:
        Dictionary of accuracies by name.
    """
    if is_whole(path):
        return json.loads(path.read_text())
    size = tuple(min(side, LARGEST_PIXELS) for side in image_size)
    arrays = []
    for part in ("train", "test"):
        images, labels = load_images(settings, part, size, 0)
        arrays += [images.reshape(len(images), -1).astype("float32"), labels]
    low_shot = downstream.low_shot_probe(*arrays)
    results = {
        "knn": evaluation.knn_accuracy(*arrays),
        "linear": downstream.linear_probe(*arrays, verbose=False)["accuracy"],
        "one_percent": low_shot["accuracy"],
    }
    write_json(path, results)
    return results


def load_images(settings, part, image_size, seed):
    """Return the images and labels that a probe learns from, or is tested on."""
    data, limit = {
        "train": (settings["data"], settings["probe_images"]),
        "test": (settings["eval_data"], settings["eval_limit"]),
    }[part]
    return datasets.load_images(data, image_size, limit, seed)
