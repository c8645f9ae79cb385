"""
Title: From a folder of photos to a search engine
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Embed a folder of images with a pretrained encoder, and find those that are alike.
Accelerator: None
"""

"""
## What you get

An encoder that was pretrained without labels turns an image into a vector, so that images
that are alike have vectors that point the same way. With such a vector for each image of a
folder, a search engine is one matrix product. This guide

1. makes a folder of photos, as you have one;
2. pretrains a small encoder on it ([image world models](https://arxiv.org/abs/2403.00504));
3. writes the features of the whole folder into one file;
4. finds the images most like a query, and looks at them;
5. measures whether the neighbours are any good, beside two controls.

In a shell, steps 3 and 4 are

```
keras-iwm embed photos/ --model model.keras --output embeddings.npz
keras-iwm search embeddings.npz query.png --output neighbors.png
```
"""

import os
import pathlib
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from PIL import Image

import keras_iwm
from keras_iwm import datasets, embeddings, evaluation, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
NUM_FILES = 24 if REDUCED else 240
keras.utils.set_random_seed(0)
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")

"""
## A folder of photos

The photos are crops of pictures that scikit-image and scikit-learn ship, one folder for
each picture. Your own folder may be flat or have a folder for each class, of JPEG, PNG,
WebP, TIFF and others; the classes are only used to measure. `keras-iwm check photos/` looks
through it beforehand.
"""

work = pathlib.Path(tempfile.mkdtemp())
photos = datasets.load_sample_photos()
crops, labels = datasets.random_photo_crops(photos, NUM_FILES, crop_size=48, seed=1)
names = list(photos)
for number, (crop, label) in enumerate(zip(crops, labels, strict=True)):
    folder = work / "photos" / names[label]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(crop).save(folder / f"{number:04d}.png")
print(datasets.check_folder(work / "photos")["classes"])

"""
## An encoder

`ViTEncoder.from_preset` takes the name of a preset, a folder, or weights that others have
published. `"iwm_tiny_32"` comes with the package: it has seen crops of seven of these photos,
without a label. Out of the file of a model of your own, `saving.load_encoder("model.keras")`
reads the encoder alone, after a look at whether the file is safe.
"""

encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")

"""
## The features of the whole folder

`embed_folder` reads the images as they come from the disk, and writes parts as it goes: of a
million files it holds little more than the names, and after a kill the same call goes on
where it was. Files that cannot be used have no row, and are listed beside the output. Names
and rows stay together.
"""

output = work / "embeddings.npz"
done = embeddings.embed_folder(encoder, work / "photos", output, batch_size=32)
table = embeddings.load_embeddings(output)
print(done["num_images"], "images,", len(done["skipped"]), "that could not be used")
print(table["names"][0], table["embeddings"].shape, table["embeddings"].dtype)

"""
The file is an ordinary one: `np.load` reads it anywhere. With `output="embeddings.parquet"`
it is a Parquet file, for pandas, DuckDB or a vector database; with `per_patch=True` it holds
a vector for each patch, for probes of your own.

## Search

`nearest_neighbors` is exact and goes through the file a part at a time, which may be larger
than memory. Where that takes too long, give the vectors to a library of approximate search.
"""

queries = np.linspace(0, len(table["names"]) - 1, 3).astype(int)
indices, similarities = evaluation.nearest_neighbors(
    table["embeddings"], table["embeddings"][queries], k=6
)
for query, row, similarity in zip(queries, indices, similarities, strict=True):
    found = [
        f"{table['names'][i]} ({s:.2f})"
        for i, s in zip(row[1:3], similarity[1:3], strict=True)
    ]
    print(f"{table['names'][query]}: {', '.join(found)}")


def read(name):
    # The pixels of a file, at the size the encoder takes.
    with Image.open(work / "photos" / name) as image:
        return np.asarray(image.resize(encoder.image_size))


# The nearest one is the query itself.
figure = visualization.plot_neighbors(
    read(table["names"][queries[1]]),
    np.stack([read(table["names"][i]) for i in indices[1, 1:]]),
    [
        f"{table['names'][i]}\n{s:.3f}"
        for i, s in zip(indices[1, 1:], similarities[1, 1:], strict=True)
    ],
)
visualization.save_figure(
    figure,
    "neighbors.png",
    caption="iwm_tiny_32, crops of sample photos",
)
figure

"""
## Are the neighbours any good?

A neighbour that looks right convinces, but colours alone can do that. So measure: how often
does the majority of an image's ten neighbours come from its own photo? And beside it what raw
pixels and an untrained encoder reach on the same images: search by pixels finds images of
like colour at like places, and an untrained encoder is not bad at that either.
"""

k = 10
found = evaluation.knn_accuracy(table["embeddings"], table["labels"], k=k)
images, file_labels = datasets.load_images(work / "photos", encoder.image_size)
random_start = keras_iwm.backbones.ViTEncoder.from_preset(
    "iwm_tiny_32", load_weights=False
)
untrained = evaluation.extract_features(random_start, images, verbose=False)
pixels = images.reshape(len(images), -1) / 255.0
print(f"trained    {found:.3f}")
print(f"untrained  {evaluation.knn_accuracy(untrained, file_labels, k=k):.3f}")
print(f"pixels     {evaluation.knn_accuracy(pixels, file_labels, k=k):.3f}")
print(f"chance     {np.max(np.bincount(file_labels)) / len(file_labels):.3f}")

"""
The crops of one photo overlap, so these numbers are high; on photos of your own they are
what you should look at before you trust the search. If trained is not above both controls,
train longer, on more images, or start from a larger pretrained encoder.

## Where to go from here

- `keras-iwm embed` and `keras-iwm search` do the same in a shell, for any model file.
- The guide "How good is my world model?" has more ways to ask what features hold.
- The guide "Reuse the world model: finetune the predictor" turns labels, if you have some,
  into a classifier.
"""
