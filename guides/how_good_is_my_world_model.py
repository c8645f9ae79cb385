"""
Title: How good is my world model?
Author: The keras_iwm developers
Date created: 2026/11/22
Last modified: 2026/11/22
Description: Measure what a world model knows of actions, what its features hold, and its health.
Accelerator: None
"""

"""
## Three questions

The loss of an image world model ([IWM](https://arxiv.org/abs/2403.00504)) does not tell
how good it is: the target moves with the model, so the loss may rise while the model
learns, and is smallest when it has collapsed. Ask instead:

1. **Health**: do the features use their space, or have they collapsed?
2. **Features**: what can a simple classifier read from them, and is it more than from an
   untrained encoder or from pixels?
3. **World model**: does the predictor know what an action does to an image?

No single number answers all three. This guide takes a small pretrained model, asks each
question, and shows the control that keeps each answer honest.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import datasets, evaluation, metrics, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
NUM_RETRIEVAL = 2 if REDUCED else 12
NUM_LABELLED = 60 if REDUCED else 600
BANK = evaluation.RetrievalBank(size=16 if REDUCED else 256)
keras.utils.set_random_seed(0)

photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
test_images, _ = datasets.random_photo_crops(held_out, 60, crop_size=32, seed=1)
probe_images, probe_labels = datasets.random_photo_crops(
    held_out, NUM_LABELLED, crop_size=32, seed=2, half="left"
)
query_images, query_labels = datasets.random_photo_crops(
    held_out, NUM_LABELLED, crop_size=32, seed=3, half="right"
)

"""
## A model, and images that it has not seen

`"iwm_tiny_32"` comes with the package, trained on crops of seven photos; the three others
are held out for all that follows.
"""

model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")

"""
While you train a model of your own, two callbacks keep watch. `WorldModelQuality` measures
during `fit`, on held-out images. `CollapseWarning`, behind it, warns once if the
representation collapses, and names what to change:

```python
quality = callbacks.WorldModelQuality(
    test_images, retrieval_images=test_images[:12], every=3
)
model.fit(dataset, callbacks=[quality, callbacks.CollapseWarning()])
```
"""

"""
## Health: do the features use their space?

Labels are not needed. Each number sees something else, so look at several, and always
beside an untrained encoder of the same shape:

- **RankMe**, the effective number of dimensions; near 1 after a collapse;
- **alpha-ReQ**, how fast the spectrum of the features falls; near 1 is usual for good
  features, far above it few directions carry everything;
- **LiDAR**, an effective rank again, of what tells *images* apart beyond what differs
  between *views* of one image;
- **uniformity**, how evenly the features lie on the sphere; 0 after a collapse, lower is
  more even.
"""

NUM_VIEWS = 8
bank = evaluation.RetrievalBank(size=NUM_VIEWS).parameters(len(test_images))
views = model.view_generator.apply_shared(
    np.repeat(test_images, NUM_VIEWS, axis=0),
    bank.reshape(-1, bank.shape[-1]),
)
views = keras.ops.convert_to_numpy(views)


def health(encoder):
    # Measure one encoder by its features of the test images and their views.
    features = evaluation.extract_features(encoder, test_images, verbose=False)
    of_views = evaluation.extract_features(encoder, views, verbose=False)
    return {
        "RankMe": metrics.rank_me(features),
        "alpha-ReQ": metrics.alpha_req(features),
        "LiDAR": metrics.lidar(of_views.reshape(len(test_images), NUM_VIEWS, -1)),
        "uniformity": metrics.uniformity(features),
    }


trained = health(model.target_encoder)
untrained = health(evaluation.untrained_copy(model))
for name, value in trained.items():
    print(f"{name:12s} {value:8.2f}   untrained {untrained[name]:8.2f}")

"""
## Features: what can be read from them?

`compare_features` probes the teacher, an untrained encoder, and raw pixels: kNN and
ridge regression, which photo a crop comes from. A trained encoder must be above both.
"""

features = evaluation.compare_features(
    model, probe_images, probe_labels, query_images, query_labels
)
for probe in ("knn", "ridge"):
    row = [features[f"{probe}_{name}"] for name in ("accuracy", "untrained", "pixels")]
    print(
        f"{probe:6s} trained {row[0]:.3f}  untrained {row[1]:.3f}  pixels {row[2]:.3f}"
    )

"""
A picture says more about *what* the latents hold: the main directions of all patches, as
colours. Patches of like colour have like latents.
"""

shown = test_images[:6]
figure = visualization.plot_patch_pca(
    shown,
    {
        "trained": model.target_encoder.predict(shown, verbose=0),
        "untrained": evaluation.untrained_copy(model).predict(shown, verbose=0),
    },
    model.encoder.grid_size,
)
figure.savefig("patch_pca.png")
figure

"""
## World model: does it know what an action does?

The report asks in many ways. For each, it gives what a model scores that does not know,
and intervals that respect that the entries of one image are no independent samples:

- *headline*: an image and an action are given; is the right result found among 256? With
  its controls: the action of another entry (*shuffled*), and another image (*swapped*);
- *slots*: one property at a time, and how far off the retrieved value is;
- *undo*: the source was made gray, blurred or solarized, and the action says so; the
  control does not say so. What grayscale took away is gone, and can only be guessed;
- *composition*: two actions in a row against one; *inverse*: the way back;
- *probes*: can the action be read from a pair of latents? This asks the encoder.
"""

report = evaluation.equivariance_report(
    model,
    test_images[:NUM_RETRIEVAL],
    train_images=probe_images,
    bank=BANK,
    num_pairs=64 if REDUCED else 4096,
    verbose=False,
)
print(evaluation.report_table(report))

"""
## See it

One image, and each property swept from end to end: above what is wanted, below what the
model finds. It is retrieval: a world model imagines latents, never pixels.
"""

figure = visualization.plot_action_sweep(model, test_images[:2], BANK)
figure.savefig("action_sweep.png")
figure

"""
## What may you conclude?

- A headline MRR far above chance, with the shuffled control at chance: **the predictor
  uses the action**. Nothing more: a predictor on a *frozen random* encoder scores well
  too, since untrained latents are easy to transform. Train one
  (`examples/pretrain.py --encoder frozen-random`) and hand it to the report as `control`.
- Probes above untrained encoder and pixels: **the features have learned something**.
- RankMe far below the untrained encoder's, or LiDAR near 1: **collapse**, whatever the
  loss says.
- Compare numbers only if they were measured in the same way. Absolute MRRs of papers are
  defined differently.

`examples/evaluate.py` prints this report for any saved model and folder. What the
knowledge is good for is the subject of the guide "Reuse the world model: finetune the
predictor".
"""
