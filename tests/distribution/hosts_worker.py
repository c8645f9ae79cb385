"""What processes of JAX do together, each with two devices.

python hosts_worker.py FOLDER --coordinator ... --num-processes 2 --process-index 0

Every number that the tests look at goes into FOLDER/process_INDEX.npz.
"""

import argparse
import pathlib

import jax
import keras
import numpy as np
from keras import ops

import keras_iwm
from keras_iwm.backbones import ViTEncoder, WorldModelPredictor
from keras_iwm.backend import alone, ask_all
from keras_iwm.callbacks import RunCheckpoint, WorldModelQuality
from keras_iwm.commands.devices import join_jax
from keras_iwm.datasets import ImageArray
from keras_iwm.models import ImageWorldModel
from keras_iwm.views import MultiBlockMask, ViewGenerator

BATCH, STEPS = 8, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (BATCH * STEPS, 16, 16, 3), "uint8")


def make_model():
    """A small model, which draws its views."""
    encoder = ViTEncoder(16, 4, 16, 2, 2, name="encoder")
    views = ViewGenerator(16, MultiBlockMask(4, num_context=5, num_targets=4), seed=3)
    predictor = WorldModelPredictor((4, 4), 16, 16, 1, 2, name="predictor")
    model = ImageWorldModel(encoder, predictor, views, ema_momentum=0.9)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def train(distribution, share, folder):
    """Five steps; return what the tests look at."""
    keras.utils.set_random_seed(0)
    keras.distribution.set_distribution(distribution)
    dataset = ImageArray(IMAGES, batch_size=BATCH, seed=1)
    dataset.share = share
    in_parts = isinstance(distribution, keras.distribution.ModelParallel)
    checkpoint = RunCheckpoint(folder, sharded=in_parts)
    model, _ = checkpoint.resume(dataset, make_model)
    bank = keras_iwm.evaluation.RetrievalBank(4)
    quality = WorldModelQuality(IMAGES[:4], bank=bank)
    callbacks = [quality] if distribution is None else [quality, checkpoint]
    log = model.fit(dataset, verbose=0, callbacks=callbacks).history
    variables = [*model.variables, *model.optimizer.variables]
    held = [variable.value.addressable_data(0).size for variable in variables]
    with alone(model):
        values = [np.ravel(ops.convert_to_numpy(v)) for v in variables]
        encoder = [np.ravel(weight) for weight in model.encoder.get_weights()]
    return {
        "loss": log["loss"][0],
        "rankme": log["rankme"][0],
        "values": np.concatenate(values).astype("float64"),
        "encoder": np.concatenate(encoder),
        "held": sum(held) / sum(value.size for value in values),
    }


def main():
    """Train alone, then on all devices, with copies and in parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-index", type=int)
    arguments = parser.parse_args()
    rank, count = arguments.process_index, arguments.num_processes
    join_jax(arguments.coordinator, count, rank)
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((len(devices),), ("batch",), devices)
    distributions = {
        "alone": None,
        "copies": keras.distribution.DataParallel(mesh, auto_shard_dataset=False),
        "parts": keras.distribution.ModelParallel(
            layout_map=keras_iwm.distribution.sharded_state_layout(mesh),
            batch_dim_name="batch",
            auto_shard_dataset=False,
        ),
    }
    results = {"largest": ask_all(7 - rank)(), "devices": len(devices)}
    results["own_devices"] = jax.local_device_count()
    for name, distribution in distributions.items():
        share = (0, 1) if distribution is None else (rank, count)
        folder = arguments.folder / name / (str(rank) if name == "alone" else "")
        for key, value in train(distribution, share, folder).items():
            results[f"{key}_{name}"] = value
    np.savez(arguments.folder / f"process_{rank}.npz", **results)


if __name__ == "__main__":
    main()
