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
from keras_iwm.layers import normalize_latents
from keras_iwm.metrics import rank_me
from keras_iwm.models import VideoWorldModel
from keras_iwm.optimizers import pretraining_recipe
from keras_iwm.views import VideoBlockMask

EPOCHS = 8


def test_a_short_run_learns_to_predict_what_is_hidden():
    env = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[2])
    env.pop("XLA_FLAGS", None)
    result = subprocess.run(
        [sys.executable, __file__], env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]


def panned_clips(photos, count, seed):
    """Windows of 16 pixels that move over photos, two pixels a frame or less."""
    rng = np.random.default_rng(seed)
    clips = np.empty((count, 4, 16, 16, 3), "uint8")
    for clip in clips:
        photo = photos[rng.integers(len(photos))]
        step = rng.integers(-2, 3, 2)
        place = rng.integers(6, np.array(photo.shape[:2]) - 22)
        for index, frame in enumerate(clip):
            row, column = place + index * step
            frame[:] = photo[row : row + 16, column : column + 16]
    return clips


def learn():
    """Train for some seconds, and assert that it helped."""
    keras.utils.set_random_seed(0)
    # Small pictures, of which a window shows something.
    photos = {name: photo[::3, ::3] for name, photo in load_sample_photos().items()}
    held_out = [photos.pop(name) for name in ("chelsea", "coffee", "flower")]
    clips = panned_clips(list(photos.values()), 512, 0)
    test_clips = panned_clips(held_out, 64, 1)
    encoder = VideoEncoder(16, 4, 64, 2, 2, num_frames=4)
    recipe = pretraining_recipe(EPOCHS * 8, 64, learning_rate=6e-3, ema_momentum=0.95)
    grid_size = encoder.grid_size
    model = VideoWorldModel.from_encoder(
        encoder,
        masks=[
            VideoBlockMask(grid_size, num_context=10, num_targets=16, name="short"),
            VideoBlockMask(
                *(grid_size, 2, (0.5, 0.5)), num_context=8, num_targets=20, name="long"
            ),
        ],
        ema_momentum=recipe.ema_momentum,
        crop=None,
        seed=0,
    )
    # XLA is twice as fast on TensorFlow, and else off without a GPU.
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    model.fit(clips, batch_size=64, epochs=EPOCHS, verbose=0)

    latents = model.feature_encoder.predict(test_clips, verbose=0)
    assert rank_me(latents.mean(axis=1)) > 4
    latents = keras.ops.convert_to_numpy(normalize_latents(latents))
    views = model.view_generator(test_clips)
    outputs = model(views)
    for kind in range(2):
        ids = keras.ops.convert_to_numpy(views["target_ids"][kind])
        prediction, target = (
            keras.ops.convert_to_numpy(outputs[name][kind])
            for name in ("prediction", "target")
        )
        error = np.abs(prediction - target).mean()
        # What is usual there.
        assert error < 0.7 * np.abs(latents.mean(axis=0)[ids] - target).mean()
        # Each prediction beside what it is of, and beside the same of other clips.
        distances = [
            np.abs(latents[:, places] - one).mean(axis=(1, 2))
            for places, one in zip(ids, prediction, strict=True)
        ]
        ranks = np.sum(np.array(distances) <= np.diag(distances)[:, None], axis=1)
        assert np.mean(1 / ranks) > 3 * np.mean(1 / np.arange(1, 65))


if __name__ == "__main__":
    learn()
