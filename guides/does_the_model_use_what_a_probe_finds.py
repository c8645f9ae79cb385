"""
Title: Does the model use what a probe finds?
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Move, and erase, what latents hold of an action, and see what a world model predicts.
Accelerator: None
"""

"""
## To be read is not to be used

A linear probe reads from latents how much brighter an image has become. So the latents
hold it, but that may be all: a random network's latents hold a good deal too, and what a
probe reads need not matter to anything behind it. The test is to **intervene**: change
what the latents hold, leave everything else, and look at what the model does.

A world model is made for it. An image world model
([IWM](https://arxiv.org/abs/2403.00504)) predicts an image's latents after an action. So
there are three ways to the same prediction, which should agree if latents mean what they
seem to:

- **told**: the clean image, and an action, such as "brighter by this much";
- **seen**: the image that really is brighter, and an action that does nothing;
- **moved**: the clean image's latents, moved along the direction that stands for
  brightness, and an action that does nothing.

The last is the intervention. This guide does it with a small pretrained model.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import datasets, evaluation, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
NUM_IMAGES = 3 if REDUCED else 30
NUM_TRAIN = 30 if REDUCED else 1_000
NUM_PAIRS = 64 if REDUCED else 2_048
keras.utils.set_random_seed(0)

"""
## A model, and photos of two kinds

`"iwm_tiny_32"` comes with the package. Directions and probes are fitted on crops of the
seven photos it was trained on, and everything is measured on crops of three others:
whatever is only true of some photos must not count. All intervals are over photos, and
with three of them they are wide.
"""

model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
train_images, _ = datasets.random_photo_crops(photos, NUM_TRAIN, crop_size=32, seed=0)
images, photo_ids = datasets.random_photo_crops(
    held_out, NUM_IMAGES, crop_size=32, seed=1
)

evaluator = evaluation.InterventionEvaluator(
    model, train_images, images, photo_ids, num_pairs=NUM_PAIRS, verbose=False
)

"""
## The direction of change

For each slot of the action, the direction is the mean change of the latents as images
change by one unit of it. It is *not* the weight vector of a probe: those weights are
chosen to read a slot, which also means to look away from what other slots do, and may
point anywhere else.
"""

directions = np.stack(list(evaluator.directions.values()))
weights = evaluator.controls["probe_weights"]
lengths = np.linalg.norm(directions, axis=1)
cosines = np.sum(directions * weights, axis=1) / lengths**2
for slot, length, cosine in zip(evaluator.slots, lengths, cosines, strict=True):
    print(f"{slot:12s} length {length:5.2f}   cosine with the probe {cosine:5.2f}")

"""
## Move the latents

`intervention_report` moves the latents of every held-out image along every direction, as
far as the slot goes and beyond, and writes what the prediction changes by as a sum of the
changes that the slots *really* make in the same image's latents. The coefficients are
**slopes**: 1 for the moved slot and 0 for the others, if the direction causes what it
stands for and nothing else. The **share** is the moved slot's part of all that is
recovered; *explained*, how much of the predicted change is a real one.
"""

report = evaluation.intervention_report(evaluator)
print(evaluation.intervention_table(report))

"""
How to read it:

- *told* and *seen* say what can be expected. Their slopes are below 1 too, for this small
  predictor changes its predictions by less than it should.
- *moved* beside *told*: a cosine near 1 says that the predictor does the same whether it
  is told the action or finds it in the latents.
- The rows with dots are as long moves along other directions. If *random* or
  *permuted amounts* did as well, a slope would say nothing; if *an untrained one's* did,
  it would not be the training's merit.
- *Erased*: the direction is taken out of the latents of images that really are changed.
  Then this slot should be lost, and no other.
- *Moved behind*: the same inside the encoder, at one layer alone or at all later ones
  too, which keeps the later layers from taking it back.
"""

figure = visualization.plot_interventions(report)
figure.savefig("interventions.png")
figure

"""
## See it

What the model imagines as latents are moved, shown by which of the slot's images it is
nearest to. Between -1 and 1 is the range that the model was trained on.
"""

figure = visualization.plot_moved_latents(evaluator, index=0)
figure.savefig("moved_latents.png")
figure

"""
## What may you conclude?

- A probe with a high R2 and a slope near that of *told*: the latents hold the slot **and
  the predictor uses it** where the direction says.
- A high R2 and a slope near 0: it is there, and nothing depends on it, or not on this
  direction. A direction is the same for all images and patches. What changes latents of
  each image in its own way, as hue does with colours, has none.
- A large slope with a small share: the direction stands for something else too.
- Compare with a predictor on a frozen random encoder
  (`examples/pretrain.py --encoder frozen-random`), as `control` of the report: latents
  that nobody trained can be moved as well.

`keras-iwm intervene` makes this table for a model and photos of yours. For a
`LatentDynamicsModel`, which predicts the next frame, the evaluator takes `Scenes` and the
`MovingPhotos` that render them, and asks the same of the camera's motion.
"""
