"""A world in which a point moves as it is told, so that all answers are known."""

import keras
import numpy as np
from keras import ops


class PointWorld(keras.Model):
    """Frames of two pixels, which are the place of a point; actions move it by `step`.

    It has the methods of a `LatentDynamicsModel`. `blur` draws what it expects towards
    the place where it starts, as weak models do.
    """

    image_size = (1, 2)
    num_channels = 1
    value_range = (-8.0, 8.0)
    action_dim = 2
    num_frames = 8
    slots = ("down", "right")

    def __init__(self, step=1.0, blur=0.0):
        super().__init__()
        self.step, self.blur = step, blur
        self.built = True

    def get_config(self):
        return {"step": self.step, "blur": self.blur}

    def encode(self, frames):
        frames = ops.cast(frames, "float32")
        return ops.reshape(frames, (*frames.shape[:2], 1, 2))

    def predict_next(self, latents, actions):
        actions = ops.cast(actions, "float32")
        return latents + (1 - self.blur) * self.step * actions[:, :, None]

    def rollout(self, latents, actions):
        known = latents.shape[1]
        start = latents[:, -1:]
        moved = ops.cumsum(ops.cast(actions, "float32")[:, known - 1 :], axis=1)
        return start + (1 - self.blur) * self.step * moved[:, :, None]


def walks(count, steps, seed=0, step=1.0):
    """Frames of walks that begin anywhere, and the actions between them."""
    random = np.random.default_rng(seed)
    actions = random.uniform(-1, 1, (count, steps, 2)).astype("float32")
    start = random.uniform(-1, 1, (count, 1, 2))
    places = np.concatenate([start, start + step * np.cumsum(actions, axis=1)], axis=1)
    return places[:, :, None, :, None].astype("float32"), actions
