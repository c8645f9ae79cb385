"""A short run learns what actions do, on photos that it has not seen.

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
from keras import ops

from keras_iwm.backbones import ViTEncoder
from keras_iwm.datasets import MovingPhotos
from keras_iwm.models import LatentDynamicsModel
from keras_iwm.optimizers import pretraining_recipe

STEPS = 200


def test_a_short_run_learns_what_actions_do():
    env = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[2])
    env.pop("XLA_FLAGS", None)
    result = subprocess.run(
        [sys.executable, __file__], env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]


def learn(steps=STEPS):
    """Train for some seconds on a frozen encoder, and return errors on other photos."""
    keras.utils.set_random_seed(0)
    clips = {"image_size": 16, "num_frames": 3, "batch_size": 32, "num_sprites": 0}
    train = MovingPhotos(split="train", clips_per_epoch=32 * steps, **clips)
    frames, actions = MovingPhotos(split="test", **clips).draw_clips(64, seed=1)
    # Untrained: what is near in its latents is near in the pictures.
    encoder = ViTEncoder(16, 4, 48, 1, 2, name="encoder")
    model = LatentDynamicsModel.from_encoder(
        encoder, train.slots, num_frames=3, predictor_layers=2
    )
    recipe = pretraining_recipe(steps, 32, learning_rate=3e-3)
    compiled = {"jit_compile": True} if keras.backend.backend() == "tensorflow" else {}
    model.compile(recipe.optimizer, **compiled)
    model.fit(train, verbose=0)

    latents = model.encode(frames)
    target = ops.convert_to_numpy(latents[:, 1:])

    def error(prediction):
        return np.abs(
            ops.convert_to_numpy(ops.stop_gradient(prediction)) - target
        ).mean()

    shuffled = np.roll(actions, 1, axis=0)
    return {
        "next": error(model.predict_next(latents[:, :-1], actions)),
        "rollout": error(model.rollout(latents[:, :1], actions)),
        "last frame": error(latents[:, :-1]),
        "first frame": error(ops.repeat(latents[:, :1], 2, axis=1)),
        "shuffled": error(model.predict_next(latents[:, :-1], shuffled)),
        "shuffled rollout": error(model.rollout(latents[:, :1], shuffled)),
    }


def check(errors):
    """Assert that actions are understood, one step ahead and two."""
    assert errors["next"] < 0.95 * min(errors["last frame"], errors["shuffled"])
    assert errors["rollout"] < 0.95 * min(
        errors["first frame"], errors["shuffled rollout"]
    )


if __name__ == "__main__":
    measured = learn()
    print({name: round(float(value), 4) for name, value in measured.items()})
    check(measured)
