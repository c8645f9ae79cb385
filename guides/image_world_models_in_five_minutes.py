"""
Title: Image world models in five minutes
Author: The keras_iwm developers
Date created: 2026/11/21
Last modified: 2026/11/21
Description: Train a model that predicts, in latent space, what a transformation does to an image.
Accelerator: None
"""

"""
## What you will do

A network that knows what an image *would* look like in another light understands
something about images. This guide trains one from scratch on a laptop: an **image world
model** ([IWM](https://arxiv.org/abs/2403.00504)). It sees part of an image, is told a
transformation, and predicts how the transformed image is represented, never its
pixels. There are no labels.

Four parts take part:

- the **encoder** (the student) turns the visible patches of the *source* view into
  latents;
- the **target encoder** (the teacher), a slow moving average of the student, turns the
  whole *target* view into latents;
- the **action** says what leads from source to target, such as "brighter, and the hue a
  little further round";
- the **predictor** is the world model: from the source's latents and the action it
  predicts the target's latents.

The library runs on JAX, TensorFlow and PyTorch. The backend is chosen before Keras is
imported.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import callbacks, datasets, evaluation, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
EPOCHS = 1 if REDUCED else 8
NUM_CROPS = 256 if REDUCED else 12_800
keras.utils.set_random_seed(0)

"""
## Photos

The packages scikit-image and scikit-learn ship ten colour photos. Crops of seven are to
learn from; crops of the three others show whether what was learned is about images
in general. Use `keras_iwm.datasets.ImageFolder` for photos of your own.
"""

photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
train_images, _ = datasets.random_photo_crops(photos, NUM_CROPS, crop_size=48)
test_images, test_labels = datasets.random_photo_crops(
    held_out, 60, crop_size=32, seed=1
)
print(train_images.shape, test_images.shape)

"""
## The model

A preset names a size. The encoder, the predictor and the views are Keras layers that you
can also make yourself. Two settings matter here: `jitter_strength=2.0` doubles the
colour changes, and `jitter_probability=1.0` makes them happen always. A task that can be
solved without knowing the action would teach the predictor to ignore it.

The recipe gives the optimizer and the teacher's momentum for the length of the run. A
short run wants a teacher that moves faster than in the paper.
"""

dataset = datasets.ImageArray(train_images, batch_size=64)
recipe = keras_iwm.optimizers.pretraining_recipe(
    steps=EPOCHS * len(dataset),
    batch_size=64,
    learning_rate=2e-3,
    ema_momentum=0.98,
)
model = keras_iwm.models.ImageWorldModel.from_preset(
    "iwm_tiny_32",
    load_weights=False,
    jitter_strength=2.0,
    jitter_probability=1.0,
    ema_momentum=recipe.ema_momentum,
    seed=0,
)
print(f"encoder   {model.encoder.count_params():,} parameters")
print(f"predictor {model.predictor.count_params():,} parameters")

"""
## What the model sees

The view generator makes everything on the accelerator, inside the compiled train step.
Look at what it makes of a few crops: source and target share their geometry, so patches
correspond; the destructive operations (grayscale, blur, solarization) touch the source
alone, so the target keeps its information. The bars are the action.
"""

views = model.view_generator(train_images[:4], training=True)
figure = visualization.plot_views(
    views,
    model.encoder.grid_size,
    num_images=4,
    action_slots=model.action_space.slots,
)
figure.savefig("views.png")
figure

"""
## Training

`compile` needs an optimizer and nothing else; `fit` takes plain images. The loss of such
a model says little, since the target moves along with it. So a callback measures, on
the held-out crops:

- `mrr`: for each of 256 changes of an image, the prediction is looked up among the 256
  true results. The mean reciprocal rank is 1 if the right one is always found first;
  by chance it is 0.024, and that is exactly what a model scores that ignores the action;
- `rankme`: how many directions the features use. Near 1, they have collapsed.
"""

model.compile(recipe.optimizer)
quality = callbacks.WorldModelQuality(
    test_images,
    test_labels,
    retrieval_images=test_images[: 4 if REDUCED else 10],
    every=2,
)
history = model.fit(dataset, epochs=EPOCHS, callbacks=[quality], verbose=2)

"""
## Did it learn?

The curves tell. A loss that rises while the other curves rise too is no bad sign: the
teacher's latents become richer and so harder to predict.
"""

figure = visualization.plot_training_curves(history.history)
figure.savefig("curves.png")
figure

"""
## What the world model imagines

We show an image and ask for changes: darker, brighter, more contrast, another hue. The
model imagines latents, so we show the image of the bank whose latents are nearest, beside
the one we asked for. A model and images are enough for the picture; the evaluator, which
measures below, spares compiling twice.
"""

evaluator = evaluation.WorldModelEvaluator(model, test_images[:4])
figure = visualization.plot_retrieval(evaluator)
figure.savefig("retrieval.png")
figure

"""
## How far can the number be trusted?

MRR has to be read beside its controls. With the actions shuffled it must fall to
chance; with the latents of another image it must fall a long way.
"""

results = evaluator.evaluate(verbose=False)
for name in ("mrr", "mrr_chance", "mrr_shuffled_action", "mrr_swapped_image"):
    print(f"{name:20s} {results[name]:.3f}")

"""
## Using the encoder

`model.encoder` (or the smoother `model.target_encoder`) is a Keras model of its own. It
takes images as they are, normalises them itself, and gives one latent per patch. Saved on
one backend, it loads on the others.
"""

latents = model.target_encoder.predict(test_images, verbose=0)
print(latents.shape)  # (images, patches, features)
model.save("world_model.keras")
loaded = keras.models.load_model("world_model.keras")
difference = loaded.target_encoder.predict(test_images, verbose=0) - latents
print(f"largest difference after loading: {np.abs(difference).max():.1e}")

"""
## Where to go from here

- Train on your own images: `examples/pretrain.py` has checkpoints, exact resume and
  larger presets.
- Let the encoder ignore colour (`conditioning="none"`), or make the task harder
  (`jitter_strength`), and watch `mrr` and the features change.
- Write an operation of your own: one subclass of `keras_iwm.actions.Transform`, and
  the action has its slots.
"""
