"""Pretrain an image world model, or I-JEPA, on your own images.

    python examples/pretrain.py --data photos/ --preset iwm_tiny_96 --epochs 100
    python examples/pretrain.py --data cifar10 --preset iwm_tiny_32
    python examples/pretrain.py --resume runs/pretrain

`--data` is a folder of images (flat, or one folder per class), an `.npz` file, or
`cifar10`. The backend is chosen by KERAS_BACKEND; JAX and Torch need no TensorFlow.
Labels, if there are any, are used for kNN and ridge regression alone.

The output folder gets `config.json`, `history.csv`, a checkpoint after every epoch and
every `--save-every` seconds, and at the end `model.keras` and `summary.json`. Whatever
ends the run, `--resume` goes on from the last checkpoint exactly as if nothing had
happened, with the options of config.json. SIGTERM and Ctrl-C finish the step, save, and
end with code 143 and 130; a run whose steps are not finite any more ends with code 3.

    python examples/pretrain.py --data photos/ --devices 4
    python examples/pretrain.py --data photos/ --devices 8 --model-parallel 2
    torchrun --nproc-per-node 4 examples/pretrain.py --data photos/

train on several devices: JAX (both), TensorFlow (the first), Torch (the last). The
batch is split among them. A run may be resumed on another number of devices.
"""

import argparse
import atexit
import contextlib
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import callbacks, datasets, evaluation
from keras_iwm.whole_file import whole_file

MEMORY_LIMIT = 2**30  # bytes of pixels up to which a folder is read at once


def parse_arguments():
    """Read the command line; with --resume, the options of the stopped run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", help="folder, .npz file, or cifar10")
    add("--eval-data", help="the same, held out; by default a tenth of --data")
    add("--limit", type=int, help="train on so many images, chosen at random")
    add("--eval-limit", type=int, default=2000, help="the same for --eval-data")
    add("--preset", default="iwm_tiny_32", choices=keras_iwm.backbones.PRESETS)
    add("--image-size", type=int, help="pixels; by default the preset's")
    add("--patch-size", type=int, help="pixels; by default the preset's")
    add("--conditioning", choices=("feature", "sequence", "none"))
    add("--predictor-layers", type=int, help="depth; by default the preset's")
    add("--jitter-strength", type=float, default=None, help="2 is the strong jitter")
    add("--jitter-probability", type=float, default=None)
    add("--encoder", choices=("trained", "frozen-random"), default="trained")
    add("--epochs", type=int, default=100)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add("--ema-momentum", type=float, default=0.996, help="at the start; 1 at the end")
    add("--drop-path-rate", type=float, default=0.0)
    add("--remat", action="store_true", help="gradient checkpointing")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
    )
    add("--jit-compile", action="store_true", help="XLA where it is not the default")
    add("--evaluate-every", type=int, default=5, help="epochs between measurements")
    add("--retrieval-images", type=int, default=20, help="held-out images for MRR")
    add("--reader-processes", type=int, default=0, help="read files in so many")
    add("--devices", type=int, default=1, help="train on so many; not with torchrun")
    add("--model-parallel", type=int, default=1, help="of them, hold one model (JAX)")
    add("--save-every", type=float, default=600, help="seconds, within an epoch")
    add("--seed", type=int, default=0)
    add("--output", default="runs/pretrain")
    add("--tensorboard", action="store_true", help="write TensorBoard events")
    add("--resume", metavar="FOLDER", help="go on with the run in this folder")
    add("--stop-after", type=int, help="epochs to run now; --resume runs the others")
    arguments = parser.parse_args()
    if arguments.resume:
        path = pathlib.Path(arguments.resume, "config.json")
        if not path.is_file():
            parser.error(f"--resume {arguments.resume}: there is no {path}")
        try:
            saved = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            parser.error(
                f"{path} is damaged ({error}). Give the options of the run again, with "
                f"--output {arguments.resume}, in place of --resume"
            )
        saved.update(
            resume=arguments.resume,
            output=arguments.resume,
            stop_after=arguments.stop_after,
            devices=arguments.devices,
            model_parallel=arguments.model_parallel,
            tensorboard=saved["tensorboard"] or arguments.tensorboard,
        )
        return argparse.Namespace(**saved)
    if not arguments.data:
        parser.error("--data is needed, or --resume")
    return arguments


def use_devices(arguments, side):
    """Return the scope in which to make models, and on how many devices they learn."""
    backend, count = keras.backend.backend(), arguments.devices
    parts = arguments.model_parallel
    if backend == "torch":
        if count > 1:
            sys.exit(f"--devices {count}: on Torch, torchrun --nproc-per-node {count}")
        count = int(os.environ.get("WORLD_SIZE", 1))
    if count % parts or parts > 1 and backend != "jax":
        sys.exit(f"--model-parallel {parts} must divide --devices {count}, on JAX only")
    replicas = count // parts
    if arguments.batch_size % replicas:
        sys.exit(f"--batch-size must be a multiple of {replicas}, one part a device")
    scope = contextlib.nullcontext()
    if count > 1 and backend == "jax":
        start_jax(replicas, parts, side)
    elif count > 1 and backend == "tensorflow":
        scope = start_tensorflow(count)
    elif count > 1:
        start_torch()
    return scope, replicas


def start_jax(replicas, parts, side):
    """Split batches in `replicas`, and each model in `parts`."""
    devices, count = keras.distribution.list_devices(), replicas * parts
    if len(devices) < count:
        sys.exit(f"--devices {count}: there are {len(devices)}")
    if 64 % replicas or side % replicas:
        sys.exit(f"{replicas} parts of a batch: evaluation needs a divisor of 64")
    if parts == 1:
        distribution = keras.distribution.DataParallel(devices=devices[:count])
    else:
        mesh = keras.distribution.DeviceMesh(
            (replicas, parts), ("batch", "model"), devices[:count]
        )
        distribution = keras.distribution.ModelParallel(
            layout_map=keras_iwm.distribution.tensor_parallel_layout(mesh),
            batch_dim_name="batch",
        )
    keras.distribution.set_distribution(distribution)


def start_tensorflow(count):
    """Return the scope of a strategy for the first GPUs, or for virtual CPUs."""
    import tensorflow as tf

    kind = "GPU"
    if not tf.config.list_physical_devices("GPU"):
        kind = "CPU"
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    devices = tf.config.list_logical_devices(kind)
    if len(devices) < count:
        sys.exit(f"--devices {count}: there are {len(devices)}")
    return tf.distribute.MirroredStrategy([d.name for d in devices[:count]]).scope()


def start_torch():
    """Join the other processes that torchrun started."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group()
    atexit.register(torch.distributed.destroy_process_group)


def load_data(arguments, image_size):
    """Return the dataset, images of it for probes, and held-out images, with labels."""
    data, batch_size, seed = arguments.data, arguments.batch_size, arguments.seed
    if pathlib.Path(data).is_dir() and not arguments.limit:
        return load_folder(arguments, image_size)
    if data == "cifar10":
        (images, labels), held_out = keras.datasets.cifar10.load_data()
        labels, held_out = labels[:, 0], (held_out[0], held_out[1][:, 0])
        chosen = np.random.default_rng(seed).permutation(len(images))
        images, labels = (part[chosen[: arguments.limit]] for part in (images, labels))
    else:
        images, labels = datasets.load_images(data, image_size, arguments.limit, seed)
        if not arguments.eval_data:  # they are in random order
            count = max(2, len(images) // 10)
            held_out = images[:count], None if labels is None else labels[:count]
            images = images[count:]
            labels = None if labels is None else labels[count:]
    if arguments.eval_data:
        held_out = load_held_out(arguments, image_size)
    held_out = tuple(
        None if part is None else part[: arguments.eval_limit] for part in held_out
    )
    dataset = datasets.ImageArray(images, batch_size=batch_size, seed=seed)
    return dataset, (images, labels), held_out


def load_held_out(arguments, image_size):
    """Return the images of `--eval-data` and their labels."""
    return datasets.load_images(
        arguments.eval_data, image_size, arguments.eval_limit, arguments.seed
    )


def load_folder(arguments, image_size):
    """Read a folder: at once, or while training, with a sample of it for probes.

    Its list is kept beside the run, and names decide who is held out: what comes or
    goes in the folder takes no held-out image into training.
    """
    output, draws = pathlib.Path(arguments.output), np.random.default_rng
    output.mkdir(parents=True, exist_ok=True)
    folder = datasets.ImageFolder(
        arguments.data,
        image_size,
        arguments.batch_size,
        seed=arguments.seed,
        num_processes=arguments.reader_processes,
        skipped_csv=output / "skipped.csv",
        index=output / "images.index",
    )
    if arguments.eval_data:
        held_out = load_held_out(arguments, image_size)
    else:
        folder, other = folder.split(0.1, seed=arguments.seed)
        chosen = draws(arguments.seed).permutation(other.num_samples)
        held_out = other.load(chosen[: arguments.eval_limit])
    if folder.num_samples * np.prod(image_size) * 3 > MEMORY_LIMIT:
        chosen = draws(arguments.seed).permutation(folder.num_samples)
        return folder, folder.load(chosen[:10_000]), held_out
    images, labels = folder.load()
    dataset = datasets.ImageArray(
        images, batch_size=arguments.batch_size, seed=arguments.seed
    )
    return dataset, (images, labels), held_out


def make_model(arguments, steps):
    """Make and compile a new model."""
    recipe = keras_iwm.optimizers.pretraining_recipe(
        steps,
        arguments.batch_size,
        learning_rate=arguments.learning_rate,
        ema_momentum=arguments.ema_momentum,
    )
    model = keras_iwm.models.ImageWorldModel.from_preset(
        arguments.preset,
        conditioning=arguments.conditioning,
        predictor_layers=arguments.predictor_layers,
        jitter_strength=arguments.jitter_strength,
        jitter_probability=arguments.jitter_probability,
        image_size=arguments.image_size,
        patch_size=arguments.patch_size,
        drop_path_rate=arguments.drop_path_rate,
        remat=arguments.remat,
        ema_momentum=recipe.ema_momentum,
        seed=arguments.seed,
    )
    if arguments.encoder == "frozen-random":
        model.encoder.trainable = False
    jit_compile = True if arguments.jit_compile else "auto"
    model.compile(recipe.optimizer, jit_compile=jit_compile)
    return model


def measure(model, arguments, train, held_out):
    """Measure the finished model on the held-out images."""
    results = {}
    if model.action_space.shared.scales:
        images = held_out[0][: 5 * arguments.retrieval_images]
        results = evaluation.evaluate_world_model(model, images)
        results["mrr_doubled"] = evaluation.evaluate_world_model(
            model, images, evaluation.RetrievalBank.doubled()
        )["mrr"]
    if held_out[1] is not None:
        train = [part[:10_000] for part in train]
        num_neighbors = min(10, len(train[0]))
        results.update(
            evaluation.compare_features(model, *train, *held_out, num_neighbors)
        )
    return results


def write_json(path, content):
    """Write a file that a crash leaves whole or absent."""
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")


def is_whole(path):
    """Whether a JSON file can be read."""
    try:
        json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return True


def main():
    """Pretrain, with checkpoints, and measure."""
    arguments = parse_arguments()
    output = pathlib.Path(arguments.output)
    config = output / "config.json"
    checkpoints = output / "checkpoints"
    found = callbacks.RunCheckpoint.latest(checkpoints)
    if found and not arguments.resume and is_whole(config):
        sys.exit(
            f"{output} holds a run already: --resume {output}, or another --output"
        )
    if found and found[1] >= arguments.epochs and (output / "summary.json").is_file():
        sys.exit(
            f"{output} holds a finished run of {found[1]} epochs: see summary.json"
        )
    rank = int(os.environ.get("RANK", 0))  # of the processes that torchrun started
    if rank == 0 and not arguments.resume:
        write_json(config, vars(arguments))
    side = (
        arguments.image_size
        or keras_iwm.backbones.PRESETS[arguments.preset]["image_size"]
    )
    scope, replicas = use_devices(arguments, side)
    keras.config.set_dtype_policy(arguments.precision)
    keras.utils.set_random_seed(arguments.seed)

    dataset, train, held_out = load_data(arguments, (side, side))
    if keras.backend.backend() == "torch":
        dataset.share = (rank, replicas)
    elif keras.backend.backend() == "jax":  # splits evenly whatever it is given
        count = len(held_out[0]) // replicas * replicas
        held_out = tuple(None if part is None else part[:count] for part in held_out)
    history = output / "history.csv"
    quality = callbacks.WorldModelQuality(
        *held_out,
        every=arguments.evaluate_every,
        retrieval_images=held_out[0][: arguments.retrieval_images],
        num_neighbors=min(10, len(held_out[0]) - 1),
    )
    checkpoint = callbacks.RunCheckpoint(
        checkpoints, every_seconds=arguments.save_every, callbacks=[quality]
    )
    with scope:
        model, epoch = checkpoint.resume(
            dataset,
            lambda: make_model(arguments, arguments.epochs * len(dataset)),
            history if rank == 0 else None,
        )
    if found:
        print(f"Resuming after epoch {epoch}, step {dataset.position}")
    writers = []
    if rank == 0:
        writers.append(keras.callbacks.CSVLogger(history, append=epoch > 0))
        if arguments.tensorboard:
            writers.append(callbacks.TensorBoardScalars(output / "tensorboard"))
        writers.append(checkpoint)
    last = min(arguments.epochs, epoch + (arguments.stop_after or arguments.epochs))
    start = time.perf_counter()
    stop = callbacks.StopOnNonFinite(dataset=dataset)
    try:
        model.fit(
            dataset,
            initial_epoch=epoch,
            epochs=last,
            callbacks=[quality, stop, callbacks.CollapseWarning(), *writers],
            verbose=0 if rank else 2,
        )
    except callbacks.NonFiniteError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    seconds = time.perf_counter() - start
    if rank:
        return
    if last < arguments.epochs:
        print(f"Stopped after epoch {last}; --resume {output} runs the others")
        return
    model.save(output / "model.keras")
    if replicas > 1:  # measured on one device, which takes batches of any size
        keras.distribution.set_distribution(None)
        model = keras.models.load_model(output / "model.keras")
    steps = (last - epoch) * len(dataset)
    summary = {
        "backend": keras.backend.backend(),
        "devices": replicas * arguments.model_parallel,
        "seconds": seconds,
        "steps": steps,
        "images_per_second": steps * arguments.batch_size / seconds,
        **measure(model, arguments, train, held_out),
    }
    write_json(output / "summary.json", summary)
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
