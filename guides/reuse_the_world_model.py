"""
Title: Reuse the world model: finetune the predictor
Author: The keras_iwm developers
Date created: 2026/11/22
Last modified: 2026/11/22
Description: Solve a task with the predictor of a pretrained world model, its encoder frozen.
Accelerator: None
"""

"""
## Why keep the predictor?

Self-supervised methods usually throw their predictor away: the encoder is what is
reused. An **image world model** ([IWM](https://arxiv.org/abs/2403.00504)) has put a part
of what it knows into the predictor, which can tell what a transformation does to an
image. So the predictor may be worth keeping:

- the encoder stays **frozen**. One encoder, and its latents if you like, serve any number
  of tasks;
- the **predictor is finetuned**: it gets the latents of the whole image, a null action
  (nothing is to change), and mask tokens at all positions; what it predicts there goes
  into a small attentive head;
- fewer parameters are tuned than with the encoder.

In the paper, predictor finetuning is as good as finetuning the encoder for models whose
predictor can really apply actions. This guide takes a small pretrained world model and
compares the ways to reuse it, with the one control that matters: the same predictor with
random weights.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import datasets, downstream, evaluation, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
EPOCHS = 1 if REDUCED else 10
NUM_LABELLED = 64 if REDUCED else 1_000
keras.utils.set_random_seed(0)

"""
## A pretrained world model

`"iwm_tiny_32"` comes with the package: it was trained without labels, on crops of seven
of the ten photos that scikit-image and scikit-learn ship. Yours comes from a folder,
`from_preset("my_model")`, or from a file, `keras_iwm.saving.load_model("model.keras")`.
"""

photos = datasets.load_sample_photos()
world_model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")

"""
## A task

Which of the ten photos does a crop come from? The crops to learn from come from the left
half of each photo, those to test from the right half, so it takes more than remembering
pixels.
"""

train_images, train_labels = datasets.random_photo_crops(
    photos, NUM_LABELLED, crop_size=32, seed=1, half="left"
)
test_images, test_labels = datasets.random_photo_crops(
    photos, NUM_LABELLED, crop_size=32, seed=2, half="right"
)
num_classes = len(photos)
print(train_images.shape, "chance:", 1 / num_classes)

"""
## Start with probes

They train next to nothing, and tell what the frozen latents hold. Features come from the
target encoder (the teacher), which is smoother than the student. The linear probe trains
heads with many learning rates and weight decays at once and takes the one that is best on
a tenth of the training images; the attentive probe has a learned query that looks at the
patches.
"""

results = {}
pooled = [
    evaluation.extract_features(world_model.target_encoder, part, verbose=False)
    for part in (train_images, test_images)
]
results["linear probe"] = downstream.linear_probe(
    pooled[0], train_labels, pooled[1], test_labels, epochs=EPOCHS, verbose=False
)
patches = [
    evaluation.extract_features(
        world_model.target_encoder, part, pooled=False, verbose=False
    )
    for part in (train_images, test_images)
]
results["attentive probe"] = downstream.attentive_probe(
    patches[0],
    train_labels,
    patches[1],
    test_labels,
    num_heads=3,
    epochs=EPOCHS,
    verbose=False,
)
accuracies = {}
for name, found in results.items():
    tuned = int(sum(np.prod(w.shape) for w in found["probe"].trainable_weights))
    accuracies[name] = [(tuned, found["accuracy"])]
print({name: round(points[0][1], 3) for name, points in accuracies.items()})

"""
## Finetune, in three protocols

A `WorldModelBackbone` turns images into latents. Its protocol says what is used and what
learns:

| protocol | encoder | predictor |
|---|---|---|
| `"frozen"` | frozen | dropped |
| `"encoder"` | learns | dropped |
| `"predictor"` | frozen | learns |
| `"end_to_end"` | learns | learns |

It copies the world model's parts, so the pretrained model stays as it is. An
`ImageClassifier` puts a head on it and is a Keras model like any other: `compile` and
`fit`. The recipe's optimizer lets the lower blocks of the encoder learn more slowly, and a
pretrained predictor a tenth as fast as a random one.
"""


def finetune(name, protocol, random_predictor=False):
    # Train one classifier and note its accuracy.
    keras.utils.set_random_seed(0)
    backbone = downstream.WorldModelBackbone.from_world_model(
        world_model, protocol, random_predictor
    )
    classifier = downstream.ImageClassifier(backbone, num_classes)
    classifier.compile(
        downstream.finetuning_recipe(
            classifier,
            steps=EPOCHS * (NUM_LABELLED // 32),
            batch_size=32,
            learning_rate=2e-3,
        ),
    )
    classifier.fit(train_images, train_labels, batch_size=32, epochs=EPOCHS, verbose=0)
    accuracy = classifier.evaluate(
        test_images, test_labels, batch_size=32, verbose=0, return_dict=True
    )["accuracy"]
    tuned = int(sum(np.prod(w.shape) for w in classifier.trainable_weights))
    accuracies[name] = [(tuned, accuracy)]
    print(f"{name:30s} {accuracy:.3f} with {tuned:,} tuned parameters")
    return classifier


finetune("encoder", "encoder")
finetune("predictor, random (control)", "predictor", random_predictor=True)
classifier = finetune("predictor, pretrained", "predictor")
finetune("end to end", "end_to_end")

"""
## What does it cost, and what does it bring?

Read the pretrained predictor beside its control: the difference is what the predictor
learned in pretraining. A run as short as this one shows how it is done; it cannot say
which protocol wins on your data. On CIFAR-10 and Tiny-ImageNet, `docs/results.md` has
figures, some of them against the paper.
"""

figure = visualization.plot_tuned_parameters(accuracies)
figure.savefig("tuned_parameters.png")
figure

"""
## Where does the head look?

The attention of the head's query over the patches, for a few test crops.
"""

chosen = test_images[:4]
attention = classifier.head_layer.attention(classifier.backbone(chosen))
figure = visualization.plot_attention(
    chosen,
    keras.ops.convert_to_numpy(attention),
    world_model.encoder.grid_size,
)
figure.savefig("attention.png")
figure

"""
## Keep it

The classifier saves and loads like any Keras model, on any backend. What was frozen comes
back frozen.
"""

classifier.save("classifier.keras")
loaded = keras.models.load_model("classifier.keras")
difference = loaded.predict(chosen, verbose=0) - classifier.predict(chosen, verbose=0)
print(f"largest difference after loading: {np.abs(difference).max():.1e}")

"""
## Where to go from here

- `examples/finetune_predictor.py` runs all of this on your own folders, with MixUp,
  CutMix, RandAugment and label smoothing.
- `keras_iwm.downstream.MultiTaskModel` shares one predictor between many tasks, each with
  a learned token.
- `keras_iwm.downstream.ImageSegmenter` labels pixels in the same protocols.
- The guide "How good is my world model?" measures what the predictor knows.
"""
