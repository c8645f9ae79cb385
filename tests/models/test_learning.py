"""A short run learns: the one test that would notice a method that does nothing.

It runs in a process of its own, compiled as for a user: with the little optimisation
that the other tests ask of XLA it would take minutes.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

import keras
import numpy as np

from keras_iwm.actions import ColorJitter
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.datasets import ImageArray, load_sample_photos, random_photo_crops
from keras_iwm.evaluation import WorldModelEvaluator, extract_features
from keras_iwm.metrics import rank_me
from keras_iwm.models import ImageWorldModel
from keras_iwm.optimizers import pretraining_recipe
from keras_iwm.views import MultiBlockMask, ViewGenerator

EPOCHS = 12


def test_a_short_run_learns_to_apply_actions():
    env = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[2])
    env.pop("XLA_FLAGS", None)
    result = subprocess.run(
        [sys.executable, __file__], env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]


def learn():
    """Train for some seconds, and assert that it helped."""
    keras.utils.set_random_seed(0)
    photos = load_sample_photos()
    held_out = {name: photos.pop(name) for name in ("chelsea", "coffee", "flower")}
    images, _ = random_photo_crops(photos, 2560, 16)
    test_images, _ = random_photo_crops(held_out, 12, 16, seed=1)
    dataset = ImageArray(images, batch_size=64)
    recipe = pretraining_recipe(
        EPOCHS * dataset.num_batches, 64, learning_rate=3e-3, ema_momentum=0.97
    )
    views = ViewGenerator(
        16,
        MultiBlockMask((4, 4), num_context=4, num_targets=7),
        actions=(ColorJitter(probability=1.0, strength=2.0),),
        seed=0,
    )
    model = ImageWorldModel(
        ViTEncoder(16, 4, 64, 2, 2),
        WorldModelPredictor(
            (4, 4), 64, 64, 2, 2, action_dim=views.action_space.action_dim
        ),
        views,
        ema_momentum=recipe.ema_momentum,
    )
    # XLA is twice as fast on TensorFlow, and else off without a GPU.
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    model.fit(dataset, epochs=EPOCHS, verbose=0)

    results = WorldModelEvaluator(model, test_images).evaluate(verbose=False)
    assert results["mrr"] > 2 * results["mrr_chance"]
    assert results["mrr"] > 2 * results["mrr_shuffled_action"]
    outputs = model.predict(images[:256], verbose=0)
    loss = np.mean((outputs["prediction"] - outputs["target"]) ** 2)
    mean_loss = np.mean((outputs["target"].mean(axis=0) - outputs["target"]) ** 2)
    assert loss < 0.8 * mean_loss
    features = extract_features(model.target_encoder, images[:256], verbose=False)
    assert rank_me(features) > 5


if __name__ == "__main__":
    learn()
