"""
Title: Where does a world model stand? Five ways to learn from images
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: World model, I-JEPA, masked autoencoder, contrastive and autoregressive learning, side by side.
Accelerator: None
"""

"""
## One encoder, five tasks

Without labels a network has to be given a task that the images themselves can check.
What it is asked for decides what it keeps of an image and what it throws away:

| method | it sees | it is asked for |
|---|---|---|
| **image world model** ([IWM](https://arxiv.org/abs/2403.00504)) | part of a changed image, and the change | latents of the rest, before the change |
| **I-JEPA** ([paper](https://arxiv.org/abs/2301.08243)) | part of an image | latents of the rest |
| **masked autoencoder** ([MAE](https://arxiv.org/abs/2111.06377)) | a quarter of the patches | pixels of the others |
| **contrastive** ([MoCo v3](https://arxiv.org/abs/2104.02057)) | two changed views | which views are of one image |
| **autoregressive** ([AIM](https://arxiv.org/abs/2401.08541)) | the patches so far | pixels of the next one |

A contrastive model is rewarded for forgetting the change: its features are *invariant*.
A model that predicts pixels has to keep nearly everything. A world model is told what
was changed, so it may keep it and still predict latents: it can stand anywhere between
them. This guide trains all five with the same encoder for the same number of
operations, shows what each is asked, and measures them alike.

It trains for minutes. Published models train for weeks, and order comes late: read the
end of the guide before you quote a number of yours.
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
FLOPS = 1e10 if REDUCED else 1e12  # of each method
NUM_CROPS = 64 if REDUCED else 3200
NUM_LABELLED = 64 if REDUCED else 1000
EPOCHS = 1 if REDUCED else 20  # of finetuning
NUM_PAIRS = 64 if REDUCED else 2048
BATCH_SIZE = 32 if REDUCED else 64
METHODS = ("iwm", "ijepa", "mae", "moco", "autoregressive")
TRAINED = ("iwm",) if REDUCED else METHODS
keras.utils.set_random_seed(0)

"""
## Photos

The packages scikit-image and scikit-learn ship ten colour photos. All methods learn from
crops of the left halves. Then probes are asked which photo a crop is from: they learn on
left halves and are tested on right ones, which nobody has seen.
"""

photos = datasets.load_sample_photos()
train_images, _ = datasets.random_photo_crops(photos, NUM_CROPS, 48, half="left")
probe_images, probe_labels = datasets.random_photo_crops(
    photos, NUM_LABELLED, crop_size=32, seed=1, half="left"
)
test_images, test_labels = datasets.random_photo_crops(
    photos, NUM_LABELLED, crop_size=32, seed=2, half="right"
)

"""
## The same compute

The presets `iwm_tiny_32`, `mae_tiny_32`, ... have one encoder in common. Their steps do
not cost the same: MAE's encoder sees a quarter of the patches, a contrastive one sees
every image twice, and its teacher again. `flops_per_image` counts it, so that each gets
as many operations and not as many epochs.
"""

all_models, steps = {}, {}
for name in METHODS:
    preset = f"{name}_tiny_32"
    method = models.method_of(preset)
    all_models[name] = method.from_preset(preset, load_weights=False, seed=0)
    cost = evaluation.flops_per_image(all_models[name], training=True)
    steps[name] = round(FLOPS / cost / BATCH_SIZE)
    print(f"{name:15s} {cost / 1e6:6.1f} MFLOP an image, {steps[name]} steps")

"""
## What each is asked

The world model: the source's context, the target's patches to predict, and the action
that leads from one to the other.
"""

shown = train_images[:4].astype("float32")
figure = visualization.plot_views(
    all_models["iwm"].view_generator(shown),
    all_models["iwm"].encoder.grid_size,
    action_slots=all_models["iwm"].action_space.slots,
)
figure.savefig("views_iwm.png")
figure

"""
I-JEPA: no change and no action. Each coloured block is predicted on its own.
"""

figure = visualization.plot_views(
    all_models["ijepa"].view_generator(shown), all_models["ijepa"].encoder.grid_size
)
figure.savefig("views_ijepa.png")
figure

"""
The masked autoencoder: most patches hidden, at random.
"""

figure = visualization.plot_views(
    all_models["mae"].view_generator(shown), all_models["mae"].encoder.grid_size
)
figure.savefig("views_mae.png")
figure

"""
The contrastive model: two views, cut and coloured apart. It is to recognise the pairs.
"""

figure = visualization.plot_view_pairs(all_models["moco"].view_generator(shown))
figure.savefig("views_moco.png")
figure

"""
The autoregressive model: one patch after another. The order is a choice; here it is
`"raster"`, that of reading.
"""

figure = visualization.plot_patch_orders(all_models["autoregressive"].encoder.grid_size)
figure.savefig("orders.png")
figure

"""
## Training

One loop serves all: each is a Keras model that is fitted on plain images. All get the
same learning rate, which is a choice and not fair: methods differ in what suits them. A
short run wants a teacher that moves faster than in the papers.
"""

for name in TRAINED:
    model = all_models[name]
    recipe = keras_iwm.optimizers.pretraining_recipe(
        steps[name], BATCH_SIZE, learning_rate=1e-3, ema_momentum=0.98
    )
    if hasattr(model, "ema_momentum"):
        model.ema_momentum = recipe.ema_momentum
    dataset = datasets.ImageArray(train_images, batch_size=BATCH_SIZE)
    epochs = -(-steps[name] // len(dataset))
    dataset.batches_per_epoch = max(1, round(steps[name] / epochs))
    model.compile(recipe.optimizer)
    history = model.fit(dataset, epochs=epochs, verbose=0).history["loss"]
    print(f"{name:15s} loss {history[0]:.3f} -> {history[-1]:.3f}")

"""
The losses measure different things and cannot be compared. Of pixels one can at least
see them: the masked autoencoder fills in what it does not see. It is given brightness
and contrast of each hidden patch.
"""

figure = visualization.plot_reconstructions(all_models["mae"], test_images[:4])
figure.savefig("reconstructions.png")
figure

"""
## Measured alike

Of each encoder, and of one that has learned nothing:

- **kNN** and **linear**: what lies open in frozen features;
- **finetuned**: what a short training with labels makes of the whole encoder;
- **action R2**: how well the change between two views can be read from their features,
  the same changes for all. 1 is an equivariant encoder, 0 one that has forgotten it;
- **RankMe**: how many directions the features use;
- and, of the world model alone, **MRR**: whether its predictor *applies* a change.

The untrained encoder matters most. Random features hold a good deal of an image, so a
high R2 is no achievement by itself.
"""

actions = keras_iwm.views.ViewGenerator(image_size=32, crop=None)


def measure(model):
    # Measure what one encoder has learned.
    features = [
        evaluation.extract_features(model.feature_encoder, images, verbose=False)
        for images in (probe_images, test_images)
    ]
    labelled = (features[0], probe_labels, features[1], test_labels)
    r2 = evaluation.action_r2(
        model,
        probe_images,
        test_images,
        NUM_PAIRS,
        verbose=False,
        view_generator=actions,
    )
    backbone = downstream.WorldModelBackbone.from_world_model(model, "encoder")
    classifier = downstream.ImageClassifier(backbone, num_classes=len(photos))
    epoch = -(-len(probe_images) // BATCH_SIZE)
    classifier.compile(
        downstream.finetuning_recipe(classifier, EPOCHS * epoch, BATCH_SIZE)
    )
    classifier.fit(
        probe_images, probe_labels, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0
    )
    predicted = classifier.predict(test_images, verbose=0).argmax(axis=1)
    return {
        "kNN": evaluation.knn_accuracy(*labelled),
        "linear": evaluation.ridge_accuracy(*labelled),
        "finetuned": float(np.mean(predicted == test_labels)),
        "action R2": np.mean([slot["value"] for slot in r2["linear"].values()]),
        "RankMe": keras_iwm.metrics.rank_me(features[1]),
    }


untrained = models.ImageWorldModel.from_preset("iwm_tiny_32", load_weights=False)
results = {"untrained": measure(untrained)}
if not REDUCED:
    results |= {name: measure(all_models[name]) for name in METHODS}
print(f"{'':15s}", *(f"{column:>10s}" for column in results["untrained"]))
for name, row in results.items():
    print(f"{name:15s}", *(f"{value:10.3f}" for value in row.values()))

found = evaluation.evaluate_world_model(
    all_models["iwm"],
    test_images[: 2 if REDUCED else 20],
    evaluation.RetrievalBank(size=16 if REDUCED else 256),
    verbose=False,
)
print(f"MRR of the world model {found['mrr']:.3f}, by chance {found['mrr_chance']:.3f}")

"""
## The picture

Each method is a point: to the right, what its features keep of the change; above, how
much of what finetuning reaches lies open to a linear layer.
"""

figure = visualization.plot_method_comparison(
    {
        name: [(row["action R2"], row["linear"], row["finetuned"] or 1e-3)]
        for name, row in results.items()
    }
)
figure.savefig("methods.png")
figure

"""
## What may you conclude?

Little, from one short run:

- **One seed.** Whether two points differ is for several seeds to say. In the paper
  equivariance itself came and went with the seed.
- **Few images, few steps.** All learned from ten photos. At this length features are
  still near where they started: compare every number with the untrained encoder's
  before you compare it with another method's.
- **Nothing tuned.** The learning rate, the strength of the changes and the batch were
  the same for all, which suits some better. A contrastive model wants large batches.
- **The question favours somebody.** A linear probe favours invariant features,
  finetuning and R2 the others. That is why there are several, and a picture of two.

What it does show is the harness: the same encoder, data, compute, probes and controls for
every method. On images of your own it is one command, with seeds, intervals, resume, and
settings by method, so that an ablation is a comparison too:

```
keras-iwm compare --data train/ --eval-data test/ --flops 2e13 --methods iwm ijepa mae moco
keras-iwm compare --data train/ --eval-data test/ --flops 2e13 --methods iwm iwm:conditioning=none
```
"""
