"""
Title: Export and serve
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Ship encoder and world model as one file each, and serve them without Keras.
Accelerator: None
"""

"""
## Why export?

What was trained here is Keras code and weights. A server, a phone or a program in another
language has neither Keras nor this library, and should not need them: it loads **one
file** and feeds it arrays. Two things are worth shipping:

- the **encoder**: images in, one latent a patch out, for search and classifiers;
- the **world model**: images *and an action* in, the latents of the transformed images
  out. A server answers what an operation would do to an image without doing it.

`model.export` writes both, in the formats that the backend can make. Files take any number
of images, of one size. `docs/export.md` has the whole table, and what was measured.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import importlib.util
import pathlib
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_iwm
from keras_iwm import datasets, downstream

"""
## A world model

`"iwm_tiny_32"` comes with the package, trained on crops of photos that scikit-image and
scikit-learn ship. Yours comes from a folder, `from_preset("my_model")`, or from a file,
`keras_iwm.saving.load_model("model.keras")`.
"""

photos = datasets.load_sample_photos()
images, _ = datasets.random_photo_crops(photos, 16, crop_size=32)
world_model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")

"""
## The two models that serve

The encoder to take away is `feature_encoder`, the teacher. `LatentPredictor` puts it
together with the predictor: a Keras model that takes a dictionary of images and actions.
Neither has to be called before it is exported; both know what they take.
"""

encoder = world_model.feature_encoder
latent_predictor = downstream.LatentPredictor.from_world_model(world_model)
print(encoder.input_signature)
print(latent_predictor.input_signature)

"""
## An action in numbers

The file knows nothing of operations: it takes the slots of an action. `slots` names them,
and `sweep` or `between` make them. Write the names down beside the file. Here one slot of
the action goes from one end of its range to the other.
"""

space = world_model.action_space
slot = space.slots.index("brightness")
action = np.zeros((9, space.action_dim), "float32")
action[:, slot] = np.linspace(-1, 1, 9)
inputs = {
    "images": np.repeat(images[:1], 9, axis=0).astype("float32"),
    "action": action,
}
print(dict(enumerate(space.slots)))

"""
## Export

Each backend makes some of the formats. ONNX is the one that all of them make and that most
servers take; it needs one package: tf2onnx on TensorFlow, jax2onnx on JAX, onnx on Torch.
The others here need nothing more. What a backend cannot make is refused, with the way
round: save the model, load it on another backend, export it there.
"""

backend = keras.backend.backend()
converter = {"jax": "jax2onnx", "tensorflow": "tf2onnx", "torch": "onnx"}[backend]
installed = {
    name: importlib.util.find_spec(name) is not None
    for name in ("onnxruntime", converter)
}
if all(installed.values()):
    format, ending = "onnx", ".onnx"
elif backend == "torch":
    format, ending = "torch", ".pt2"
else:
    format, ending = "tf_saved_model", ""
encoder.export("encoder" + ending, format=format, verbose=False)
latent_predictor.export("latent_predictor" + ending, format=format, verbose=False)
print(f"exported as {format}")

other = "torch" if backend != "torch" else "litert"
try:
    encoder.export("encoder" + {"torch": ".pt2", "litert": ".tflite"}[other], other)
except ValueError as error:
    print(f"refused: {error}")

"""
## A server without Keras

The lines in the middle are all that a server needs of each format. The program runs in a
process of its own, which makes sure that neither this library nor, where the runtime does
not bring it along as TensorFlow does, Keras was imported.
"""

SERVERS = {
    "onnx": [
        "import onnxruntime",
        "session = onnxruntime.InferenceSession('latent_predictor.onnx')",
        "latents = session.run(None, {'images': images, 'action': action})[0]",
    ],
    "torch": [
        "import torch",
        "module = torch.export.load('latent_predictor.pt2').module()",
        "request = {'images': torch.tensor(images), 'action': torch.tensor(action)}",
        "latents = module(request).detach().numpy()",
    ],
    "tf_saved_model": [
        "import tensorflow as tf",
        "loaded = tf.saved_model.load('latent_predictor')",
        "latents = loaded.serve({'images': images, 'action': action}).numpy()",
    ],
}
program = [
    "import sys",
    "import numpy as np",
    "images, action = np.load('images.npy'), np.load('action.npy')",
    *SERVERS[format],
    "assert 'keras_iwm' not in sys.modules",
    "assert 'keras' not in sys.modules or 'tensorflow' in sys.modules",
    "np.save('latents.npy', latents)",
]
pathlib.Path("server.py").write_text("\n".join(program))
np.save("images.npy", inputs["images"])
np.save("action.npy", inputs["action"])
subprocess.run([sys.executable, "server.py"], check=True)
served = np.load("latents.npy")

"""
## The same numbers

Nine images went through the file, though none was said to be nine. Keras and the server
agree to rounding.
"""

wanted = latent_predictor.predict(inputs, verbose=0)
difference = np.abs(served - wanted).max()
print(f"{served.shape}, largest difference to Keras: {difference:.1e}")
assert difference < 1e-3

"""
## What the server knows

How far the predicted latents move from those of the null action, as the slot goes through
its range: the line is Keras's, the dots are the server's. After a run as short as this one
the curve says little about the photo; that both lie on each other is the point.
"""


def moved(latents):
    # Root mean squared distance from the middle one, the null action.
    return np.sqrt(np.mean((latents - latents[4]) ** 2, axis=(1, 2)))


figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(1, 2))
left.imshow(images[0])
left.set_axis_off()
right.plot(action[:, slot], moved(wanted), color="tab:blue", label="Keras")
right.plot(action[:, slot], moved(served), "o", color="tab:orange", label="server")
right.set_xlabel(f"slot {space.slots[slot]!r} of the action")
right.set_ylabel("change of the latents")
right.legend(frameon=False)
figure.tight_layout()
figure.savefig("served.png", dpi=150)
figure

"""
## Where to go from here

- `docs/export.md` has a line of code for each format, how it is fed, the table of what was
  measured, and what holds for half precision and int8.
- `ImageClassifier` and `ImageSegmenter` are exported in the same way.
- Images of another size: `export` takes an `input_signature`, a file for each size.
- The guide "How good is my world model?" tells whether the predictions are worth serving.
"""
