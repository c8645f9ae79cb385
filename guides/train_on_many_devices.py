"""
Title: Train on many devices
Author: The keras_iwm developers
Date created: 2026/11/22
Last modified: 2026/11/22
Description: Split batches, or whole models, over devices with JAX, TensorFlow and PyTorch.
Accelerator: None
"""

"""
## What you will do

A model that takes a week on one device should take a day on eight. Each backend has an
engine of its own for that, and you will train with the one of yours:

| backend | engine | how a program starts |
|---|---|---|
| JAX | `keras.distribution` | one process, arrays that span devices |
| TensorFlow | `tf.distribute.MirroredStrategy` | one process, a copy of the model on each device |
| PyTorch | `torch.distributed` | one process for each device, by `torchrun` |

An image world model asks for more than averaged gradients:

- every device must draw its **own views and masks**. Copies of a model have the same
  seeds, and would show the same crop boxes and colours to all devices;
- the **teacher** must be the same everywhere, and so must the logged numbers;
- a **checkpoint** must not care how many devices wrote it.

The library sees to these. You call `fit`.

The devices of this guide are virtual: parts of the CPU that behave like devices of their
own. Nothing gets faster by them, but everything that can go wrong can be seen. With real
ones, leave out the lines that make them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
NUM_DEVICES = 2
# JAX reads this when it starts. It makes no difference where there are GPUs or TPUs.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count={NUM_DEVICES}"
)

import inspect
import pathlib
import subprocess
import sys

import keras
import matplotlib.figure
import numpy as np

import keras_iwm
from keras_iwm import backbones, datasets, models
from keras_iwm.views import MultiBlockMask, ViewGenerator

BACKEND = keras.backend.backend()
# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
EPOCHS = 2 if REDUCED else 12
NUM_CROPS = 64 if REDUCED else 1024
BATCH_SIZE = 32

if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES,
    )

"""
## On one device

First a run to compare with. The model is made of its parts, since we want a number of
attention heads that two devices can share. It is saved before it has learned anything:
all runs below start from this file, and so from the same weights.
"""


def make_model(num_heads=4):
    encoder = backbones.ViTEncoder(32, 4, 64, 3, num_heads, name="encoder")
    views = ViewGenerator(32, MultiBlockMask(8), seed=0)
    predictor = backbones.WorldModelPredictor(
        encoder.grid_size, 64, 64, 2, num_heads, name="predictor"
    )
    return models.ImageWorldModel(encoder, predictor, views, ema_momentum=0.98)


keras.utils.set_random_seed(0)
photos = datasets.load_sample_photos()
crops, _ = datasets.random_photo_crops(photos, NUM_CROPS, crop_size=48)
np.savez("crops.npz", images=crops)
dataset = datasets.ImageArray(crops, batch_size=BATCH_SIZE)

model = make_model()
model.save("start.keras")
model.compile(keras_iwm.optimizers.AdamW(1e-3))
losses = {"one device": model.fit(dataset, epochs=EPOCHS, verbose=2).history["loss"]}

"""
## JAX: arrays that span devices

`DataParallel` gives every device a part of each batch. It must be set before the model is
made or loaded; nothing else changes. XLA draws the random numbers of the whole batch,
whoever computes them, so the run equals the one above up to rounding.
"""

distributed, drawn = None, None
photo = crops[:1]  # shown to every device, to see what each makes of it

if BACKEND == "jax":
    devices = keras.distribution.list_devices()[:NUM_DEVICES]
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices)
    )
    model = keras.models.load_model("start.keras")
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    dataset.epoch = 0  # the same order of images once more
    distributed = model.fit(dataset, epochs=EPOCHS, verbose=2).history["loss"]
    # One batch with one row for each device.
    rows = np.repeat(photo, NUM_DEVICES, axis=0)
    views = model.view_generator(rows, training=True)
    drawn = [keras.ops.convert_to_numpy(views["source"]), views["action"]]

"""
### A model larger than a device

`ModelParallel` splits the weights too. `tensor_parallel_layout` knows where: attention and
MLP of every block by their inner features, in student, teacher and predictor, and the
optimizer's slots with them. The mesh says how: here one batch, and a model over two
devices; `(4, 2)` on eight devices would be four models over two devices each.

The heads must divide over the devices, or the model says so.
"""

if BACKEND == "jax":
    mesh = keras.distribution.DeviceMesh((1, NUM_DEVICES), ("batch", "model"), devices)
    layout_map = keras_iwm.distribution.tensor_parallel_layout(mesh)
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch")
    )
    model = keras.models.load_model("start.keras")
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    dataset.epoch = 0
    model.fit(dataset, epochs=1, verbose=2)
    kernel = model.encoder.blocks[0].mlp_hidden.kernel
    part = kernel.value.sharding.shard_shape(kernel.value.shape)
    print(f"{kernel.path} {kernel.shape}: {part} on each device")
    try:
        make_model(num_heads=1)
    except ValueError as error:
        print(error)
    keras.distribution.set_distribution(None)

"""
## TensorFlow: a copy on each device

Make or load the model, and compile it, inside the strategy's scope. TensorFlow splits the
batches, adds the gradients up and shares the metrics. In every train step each copy's
seeds are moved by a number hashed from its place. To draw outside of `fit`, as here for
the picture, `own_draws` does the same.

Two things to know: gradient accumulation does not work under a strategy (the library refuses
it before anything is changed), and Keras leaves XLA off there by default.
"""

if BACKEND == "tensorflow":
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")]
    )
    with strategy.scope():
        model = keras.models.load_model("start.keras")
        model.compile(keras_iwm.optimizers.AdamW(1e-3))
    dataset.epoch = 0
    distributed = model.fit(dataset, epochs=EPOCHS, verbose=2).history["loss"]

    def draw():
        with keras_iwm.backend.own_draws(model):
            views = model.view_generator(photo, training=True)
        return views["source"], views["action"]

    drawn = [np.concatenate(copies.values) for copies in strategy.run(draw)]

"""
## PyTorch: a process for each device

`torchrun` starts the same program several times. Each process joins the others, takes its
share of every batch, and calls `fit`. The function below is such a program; here it is
written to a file and started.

There is no `DistributedDataParallel`: `fit` would go past it, and the processes would drift
apart without a word. The library hooks the gradients instead, starts all processes from the
first one's weights, and averages the logs.

Only the first process, rank 0, writes files. All of them must call `fit` and `evaluate`,
since these wait for each other.
"""


def train_in_a_process(batch_size, epochs):
    import os

    import keras
    import numpy as np
    import torch

    import keras_iwm

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group()
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()

    images = np.load("crops.npz")["images"]
    dataset = keras_iwm.datasets.ImageArray(images, batch_size=batch_size)
    dataset.share = (rank, count)
    model = keras.models.load_model("start.keras")
    model.compile(keras_iwm.optimizers.AdamW(1e-3))
    run = model.fit(dataset, epochs=epochs, verbose=0 if rank else 2)

    with keras_iwm.backend.own_draws(model):
        views = model.view_generator(images[:1], training=True)
    drawn = [None] * count
    rows = [keras.ops.convert_to_numpy(views[key]) for key in ("source", "action")]
    torch.distributed.all_gather_object(drawn, rows)
    if rank == 0:
        source, action = (np.concatenate(part) for part in zip(*drawn, strict=True))
        np.savez("torch.npz", loss=run.history["loss"], source=source, action=action)
        model.save("trained.keras")
    torch.distributed.destroy_process_group()


if BACKEND == "torch":
    program = inspect.getsource(train_in_a_process)
    program += f"\n\ntrain_in_a_process({BATCH_SIZE}, {EPOCHS})\n"
    pathlib.Path("train_torch.py").write_text(program)
    # In a terminal: torchrun --standalone --nproc-per-node 2 train_torch.py
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node", str(NUM_DEVICES), "train_torch.py"]
    subprocess.run([*torchrun, *program], check=True)
    model = keras.models.load_model("trained.keras")
    with np.load("torch.npz") as arrays:
        distributed = arrays["loss"]
        drawn = [arrays["source"], arrays["action"]]

"""
## The same learning, different views

On the left, the loss on one device and on two. On JAX the curves are one: the same numbers
were drawn. On TensorFlow and PyTorch the second device draws others, so the curves are two
samples of the same thing. With the same views they agree there too, to a millionth, which
the library's tests check.

On the right, one photo as each device saw it in one step. If two of them were
alike, the second device would teach the model nothing that the first does not.
"""

losses[f"{NUM_DEVICES} devices"] = distributed
sources, actions = (np.asarray(part) for part in drawn)
figure = matplotlib.figure.Figure((10, 3.8), layout="constrained")
axes = figure.subplots(1, 2 + NUM_DEVICES, width_ratios=[2] + [1] * (1 + NUM_DEVICES))
for (name, values), style in zip(losses.items(), ("-", "--"), strict=True):
    axes[0].plot(np.arange(1, EPOCHS + 1), values, style, label=name, linewidth=2)
axes[0].set(xlabel="epoch", title=f"loss ({BACKEND})")
axes[0].xaxis.get_major_locator().set_params(integer=True)
axes[0].legend(frameon=False)
axes[1].imshow(photo[0])
axes[1].set_title("photo")
for index, source in enumerate(sources):
    axes[2 + index].imshow(source / 255)
    axes[2 + index].set_title(f"on device {index}")
    slots = zip(model.action_space.slots, actions[index], strict=True)
    axes[2 + index].set_xlabel("\n".join(f"{k} {v:+.2f}" for k, v in slots), fontsize=7)
for axis in axes[1:]:
    axis.set(xticks=[], yticks=[])
figure.savefig("devices.png", dpi=120)
assert np.any(actions[0] != actions[1])
figure

"""
## Go on with other devices

A checkpoint holds one state for all devices. Save with `model.save`, or after every epoch
with `keras_iwm.callbacks.RunCheckpoint` (given to every process, of which the first one
writes), and load under any of the settings above, or none.
"""

model.save("world_model.keras")
model = keras.models.load_model("world_model.keras")  # outside of any scope
model.fit(dataset, epochs=1, verbose=2)

"""
## Where to go from here

- `examples/pretrain.py` has all of this behind `--devices` and `--model-parallel`, or under
  `torchrun`, with `--resume` on any number of devices.
- Several hosts, under SLURM or Kubernetes: `docs/hosts.md`.
- Batches are split evenly: their size must be a multiple of the number of devices.
- With more devices comes a larger batch. `pretraining_recipe` raises the learning rate with
  the square root of its size.
"""
