"""
Title: Use published I-JEPA weights
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Load an encoder that others have trained, probe it, train it further, and hand it back.
Accelerator: None
"""

"""
## What you will do

Nobody has to pretrain a large encoder to use one. The authors of
[I-JEPA](https://arxiv.org/abs/2301.08243) have published theirs, and transformers and timm
have copies. This guide loads such weights into keras_iwm, takes features from them, goes
on pretraining from them, and saves the result for users of transformers.

**What is loaded here is a stand-in.** The published files have gigabytes and a licence of
their own (CC-BY-NC 4.0, not for commercial use), so this guide makes a small file of the
same layout from the small model in the package. Its numbers say nothing
about the published weights; the lines of code are those that you need for them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import backbones, datasets, evaluation, models

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
NUM_CROPS = 128 if REDUCED else 6400
keras.utils.set_random_seed(0)
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")

"""
## A stand-in

The encoder of `"iwm_tiny_32"`, which comes with the package and was trained on crops of
the photos that scikit-image and scikit-learn ship, saved as transformers saves its
`IJepaModel`. It shows each step without a download.
"""

photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
train_images, _ = datasets.random_photo_crops(photos, NUM_CROPS, crop_size=32)
test_images, test_labels = datasets.random_photo_crops(
    held_out, 60, crop_size=32, seed=1
)

stand_in = models.ImageWorldModel.from_preset("iwm_tiny_32")
backbones.save_transformers(stand_in.feature_encoder, "stand_in")
print(sorted(os.listdir("stand_in")))

"""
## Load it

One line, whatever the source: a folder of transformers or timm, a `.safetensors`, a
`.pth.tar` of I-JEPA's own code, or a model of the Hub:

```
backbones.ViTEncoder.from_preset("IN1K-vit.h.14-300e.pth.tar")     # Torch reads it
backbones.ViTEncoder.from_preset("hf://facebook/ijepa_vith14_1k")  # huggingface_hub
```

Sizes are read from the weights. Nothing in a file is run, and if one weight is missing,
left over or of another shape, all such are listed and nothing is loaded.
"""

encoder = backbones.ViTEncoder.from_preset("stand_in")
print(f"{encoder.num_layers} blocks of {encoder.hidden_dim}, {encoder.positions}")
latents = encoder.predict(test_images, verbose=0)
print(latents.shape)  # (images, patches, features)
difference = latents - stand_in.feature_encoder.predict(test_images, verbose=0)
print(f"largest difference from what was saved: {np.abs(difference).max():.1e}")

"""
## What the features are worth

Images are given as they are: the encoder knows mean and deviation. There is no class
token, so an image's features are the mean of its patches'. The nearest neighbours of the
other crops tell from which photo a crop is; an untrained copy is the control.
"""

half = np.random.default_rng(0).permutation(len(test_images))
train, test = half[: len(half) // 2], half[len(half) // 2 :]


# Accuracy of the nearest neighbours.
def knn(encoder):
    features = encoder.predict(test_images, verbose=0).mean(axis=1)
    return evaluation.knn_accuracy(
        features[train], test_labels[train], features[test], test_labels[test], k=5
    )


control = backbones.ViTEncoder.from_config(encoder.get_config())
print(f"loaded {knn(encoder):.3f}, untrained {knn(control):.3f}")

"""
## Images of another size

The encoder takes them, a multiple of the patch size: positions are resampled. By default
that is analytic where the weights hold fixed positions; `positions="learned"` keeps the
table, and resamples it exactly as transformers does.
"""

larger = np.repeat(np.repeat(test_images, 2, axis=1), 2, axis=2)
print(encoder.predict(larger, verbose=0).shape)

"""
## Train it further

A world model around the encoder needs a predictor. A `.pth.tar` of I-JEPA's code holds
one: `models.ImageWorldModel.from_preset(path)` takes all three networks from it. Other
files hold the encoder alone, so the predictor starts anew, here one that is told what the
action is: I-JEPA becomes an image world model.
"""

model = models.ImageWorldModel.from_encoder(
    encoder, conditioning="feature", predictor_layers=2, ema_momentum=0.98, seed=0
)
model.compile(keras_iwm.optimizers.AdamW(1e-3, weight_decay=0.04))
model.fit(train_images, batch_size=64, verbose=2)

"""
## And back

What was trained further is handed to users of transformers as a folder that
`transformers.IJepaModel.from_pretrained` loads, with the image processor's settings.
"""

backbones.save_transformers(model.feature_encoder, "further")
again = backbones.ViTEncoder.from_preset("further").predict(test_images, verbose=0)
difference = again - model.feature_encoder.predict(test_images, verbose=0)
print(f"largest difference: {np.abs(difference).max():.1e}")

"""
## Where to go from here

- `docs/weights.md` has the table of sources, positions and measured differences.
- Class tokens, registers and rotary positions are no hindrance: MAE, DeiT, DINOv2 and
  DINOv3 encoders of timm and transformers load the same way, and give one latent a patch.
- `keras_iwm.downstream` puts heads on the encoder, frozen or finetuned.
"""
