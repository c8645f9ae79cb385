"""A short run on clips learns: what is hidden is predicted better than guessed.

It runs in a process of its own, compiled as for a user, as `test_learning.py` does.
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

from keras_iwm.backbones import VideoEncoder
from keras_iwm.datasets import load_sample_photos
from keras_iwm.metrics import rank_me
from keras_iwm.models import VideoWorldModel
from keras_iwm.optimizers import pretraining_recipe

EPOCHS = 12


def test_a_short_run_learns_to_predict_what_is_hidden():
    env = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[2])
    env.pop("XLA_FLAGS", None)
    result = subprocess.run(
        [sys.executable, __file__], env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]


def panned_clips(photos, count, seed):
    """Windows of 24 pixels that move over photos, two pixels a frame or less."""
    rng = np.random.default_rng(seed)
    clips = np.empty((count, 4, 24, 24, 3), "uint8")
    for clip in clips:
        photo = photos[rng.integers(len(photos))]
        step = rng.integers(-2, 3, 2)
        place = rng.integers(6, np.array(photo.shape[:2]) - 30)
        for index, frame in enumerate(clip):
            row, column = place + index * step
            frame[:] = photo[row : row + 24, column : column + 24]
    return clips


def learn():
    """Train for some seconds, and assert that it helped."""
    keras.utils.set_random_seed(0)
    photos = load_sample_photos()
    held_out = [photos.pop(name)[::3, ::3] for name in ("chelsea", "coffee", "flower")]
    clips = panned_clips([photo[::3, ::3] for photo in photos.values()], 512, 0)
    test_clips = panned_clips(held_out, 128, 1)
    encoder = VideoEncoder(24, 4, 48, 2, 2, num_frames=4)
    recipe = pretraining_recipe(EPOCHS * 16, 32, learning_rate=3e-3, ema_momentum=0.95)
    model = VideoWorldModel.from_encoder(
        encoder, predictor_dim=48, ema_momentum=recipe.ema_momentum, crop=None, seed=0
    )
    # XLA is twice as fast on TensorFlow, and else off without a GPU.
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    model.fit(clips, batch_size=32, epochs=EPOCHS, verbose=0)

    latents = model.feature_encoder.predict(test_clips, verbose=0)
    assert rank_me(latents.mean(axis=1)) > 5
    outputs = model.predict(test_clips, batch_size=128, verbose=0)
    for prediction, target in zip(
        outputs["prediction"], outputs["target"], strict=True
    ):
        # Guesses: the mean over clips, and what the clip has in common.
        usual = np.median(target, axis=(0, 1))
        common = np.median(target, axis=1, keepdims=True)
        error, *guesses = (
            np.abs(guess - target).mean() for guess in (prediction, usual, common)
        )
        print(error, guesses)
        assert error < 0.8 * min(guesses)


if __name__ == "__main__":
    learn()
