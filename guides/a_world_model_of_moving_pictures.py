"""
Title: A world model of moving pictures
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Learn from clips by predicting what a mask hides, and ask the model what it expects.
Accelerator: None
"""

"""
## Why predict in time?

A photo shows how the world looks, a clip how it behaves: things keep their colour, move
on, bounce off walls. Who can fill in the missing parts of a clip knows something of it.
[V-JEPA](https://arxiv.org/abs/2404.08471) learns so, without labels and without pixels
as targets: it predicts the *latents* of what is hidden.

This guide makes clips out of photos, trains such a model on them, and tests it as
infants are tested: does it look surprised when something impossible happens?

It trains for minutes on two cores. Do not expect a V-JEPA of it, and read the last
section before you quote a number.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import datasets, downstream, evaluation, models, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
STEPS = 2 if REDUCED else 600
BATCH_SIZE = 4 if REDUCED else 32
NUM_PAIRS = 4 if REDUCED else 200
NUM_LABELLED = 8 if REDUCED else 600
EPOCHS = 1 if REDUCED else 20  # of the probe
keras.utils.set_random_seed(0)

"""
## Clips

A camera moves over photos that scikit-image and scikit-learn ship, and a sprite moves on
its own; in half of the clips a wall stands in its way, and it bounces off. Nobody tells
the model any of this. Some photos are kept for tests.
"""

settings = {
    **{"image_size": 32, "num_frames": 8, "batch_size": BATCH_SIZE},
    **{"max_pan": 3.0, "max_log_zoom": 0.05, "max_turn": 5.0},
}
train_clips = datasets.MovingPhotos(
    split="train", clips_per_epoch=STEPS * BATCH_SIZE, **settings
)
test_clips = datasets.MovingPhotos(split="test", **settings)
frames, _ = train_clips.draw_clips(3, seed=0)
figure = visualization.plot_clip(frames)
figure.savefig("clips.png")
figure

"""
## Tubelets, and masks that run through time

The encoder cuts a clip into *tubelets*: 4 x 4 pixels of two frames become one token.
Positions have three axes: time, row, column.

If a mask hid other patches in every frame, the model could copy from the frame before.
So masks are the same in all frames. There are two kinds: many short blocks, and a few
long ones that leave little to go by. Of what is left the encoder gets a fixed number of
patches, drawn anew in each pair of frames. What is seen of the same clip, under each:
"""

encoder = keras_iwm.backbones.VideoEncoder(
    image_size=32, patch_size=4, hidden_dim=96, num_layers=4, num_heads=3,
    num_frames=8, tubelet_size=2,
)  # fmt: skip
model = models.VideoWorldModel.from_encoder(
    encoder, predictor_layers=3, predictor_dim=64, predictor_heads=2, crop=None, seed=0
)
views = model.view_generator(frames[:1])
strips = [frames[0]]
for context_ids in views["context_ids"]:
    seen = np.zeros(encoder.num_patches, "bool")
    seen[keras.ops.convert_to_numpy(context_ids)[0]] = True
    seen = seen.reshape(encoder.grid_size)  # (4, 8, 8)
    seen = seen.repeat(2, 0).repeat(4, 1).repeat(4, 2)[..., None]
    strips.append(np.where(seen, frames[0], 216).astype("uint8"))
figure = visualization.plot_clip(np.stack(strips), names=["clip", "short", "long"])
figure.savefig("masks.png")
figure

"""
## Training

The student sees what the mask leaves. The predictor is told where the hidden patches are
and predicts their latents, as the teacher makes them of the whole clip. The teacher is a
moving average of the student; its latents are normalised, and the loss is the mean
absolute difference. All of this is inside the model: it is fitted on clips alone.
"""

recipe = keras_iwm.optimizers.pretraining_recipe(
    STEPS, BATCH_SIZE, learning_rate=1e-3, ema_momentum=0.99
)
model.ema_momentum = recipe.ema_momentum
model.compile(recipe.optimizer)
model.fit(train_clips, verbose=2)

"""
## What does it expect?

Hide all of the next tubelet, and compare what the model predicts with the latents of
what comes: that is its *surprise*. Beside it stands what one gets for nothing, the
latents of the tubelet before (`copy`): a model that knows less than that has learned
nothing about time.
"""

frames, _ = test_clips.draw_clips(NUM_PAIRS, seed=1)
found = evaluation.surprise(model, frames)
for name in ("prediction", "copy"):
    by_frame = found[name][:, model.encoder.tubelet_size :].mean(axis=0)
    print(f"{name:10s}", *(f"{value:.3f}" for value in by_frame[::2]))

"""
## Is it surprised by what cannot happen?

Pairs of clips are the same until something happens that cannot: a sprite vanishes,
jumps, changes its colour, or passes through a wall. In which share of the pairs does the
impossible clip surprise the model more? Chance is one half.

A jump changes many pixels, so `copy` is surprised by it too, and even with an *untrained*
encoder. What a model knows of objects is what it gets beyond these two.
"""

report = evaluation.evaluate_surprise(model, test_clips, num_pairs=NUM_PAIRS)
for event, part in report["events"].items():
    shares = (part["accuracy"][name] for name in ("prediction", "copy", "untrained"))
    print(
        f"{event:14s}",
        *(f"{s['value']:.2f} ({s['low']:.2f} to {s['high']:.2f})" for s in shares),
    )
figure = visualization.plot_surprise(report)
figure.savefig("surprise.png")
figure

"""
## What do its features hold?

The teacher is what one takes away: `model.feature_encoder`. Here a probe asks it which way
the camera pans, up, down, left or right, which no single frame tells. Latents are
averaged for ridge regression; the attentive probe may look where it likes, which for
video matters more than for photos.

The encoder takes images too: one is a clip of equal frames, in which nothing moves.
"""


def panning_clips(maker, seed):
    # Clips in which the camera goes one way, and which way that is.
    scenes = maker.draw_scenes(NUM_LABELLED, seed=seed)
    labels = np.arange(NUM_LABELLED) % 4
    ways = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])[labels]
    speeds = np.random.default_rng(seed).uniform(0.3, 1.0, (NUM_LABELLED, 1))
    actions = np.zeros((NUM_LABELLED, maker.num_frames - 1, maker.action_dim))
    actions[:, :, :2] = (ways * speeds)[:, None]
    return maker.render(scenes, actions), labels


train_frames, train_labels = panning_clips(train_clips, seed=2)
test_frames, test_labels = panning_clips(test_clips, seed=3)
encoders = {
    "trained": model.feature_encoder,
    "untrained": evaluation.untrained_copy(model),
}
for name, part in encoders.items():
    train_latents, test_latents = (
        evaluation.extract_features(part, clips, pooled=False, verbose=False)
        for clips in (train_frames, test_frames)
    )
    ridge = evaluation.ridge_accuracy(
        train_latents.mean(axis=1), train_labels, test_latents.mean(axis=1), test_labels
    )
    attentive = downstream.attentive_probe(
        train_latents, train_labels, test_latents, test_labels, num_heads=3,
        epochs=EPOCHS, verbose=False,
    )["accuracy"]  # fmt: skip
    print(f"{name:10s} ridge {ridge:.3f}  attentive {attentive:.3f}")

latents = model.feature_encoder.predict(test_frames[:2, 0], verbose=0)
print("Latents of two images:", latents.shape)

"""
## What may you conclude?

- **This run expects less than it costs nothing to expect.** In full on JAX, the predictions
  were 0.43, 0.42 and 0.41 off, copies 0.32, 0.32 and 0.31. Of the impossible clips 51, 58, 55
  and 7 % surprised it more than their twins, copying 56, 99, 93 and 85 %. In training it has
  always seen a few patches of each frame; a frame hidden whole is something new to it. In
  the paper on [intuitive physics](https://arxiv.org/abs/2502.11831) such models do tell what
  is possible, after months of video. Do not take a surprise for knowledge without `copy`.
  A model of dynamics on a trained image encoder, which has learned to foretell whole
  frames, is surprised at the right moment: `examples/world_in_motion.py --frames 8`.
- **The untrained encoder wins the last comparison**: 0.63 by ridge regression and 0.90 by the
  attentive probe, trained 0.40 and 0.66. Random features keep the pixels, and where pixels
  go can be read from them. A model that learns for minutes from eight photos first
  unlearns such things. In the paper, training takes 90,000 steps of thousands of clips.
- **One seed, eight photos.**

Clips of your own are a folder: `keras_iwm.datasets.ClipFolder("clips/", 64, num_frames=16)`
reads videos and folders of frames, and `keras-iwm pretrain --preset vjepa_tiny_64 --data
clips/` trains on it. Published encoders need no training at all:
`keras_iwm.backbones.VideoEncoder.from_preset("hf://facebook/vjepa2-vitl-fpc64-256")`.

Here nobody told the model what the camera does. If you know, tell it: *Plan in latent
space* trains a model that does, and makes it find its way.
"""
