"""Pretrain an image world model, or I-JEPA, on your own images.

    keras-iwm pretrain --data photos/ --preset iwm_tiny_96 --epochs 100
    keras-iwm pretrain --data cifar10 --preset iwm_tiny_32
    keras-iwm pretrain --resume runs/pretrain

`--data` is a folder of images (flat, or one folder per class), an `.npz` file, or
`cifar10`. The backend is chosen by KERAS_BACKEND; JAX and Torch need no TensorFlow.
Labels, if there are any, are used for kNN and ridge regression alone.

The output folder gets `config.json`, `history.csv`, a checkpoint after every epoch and
every `--save-every` seconds, the pictures `views.png` and `curves.png`, and at the end
`model.keras` and `summary.json`. Whatever ends the run, `--resume` goes on from the
last checkpoint exactly as if nothing had happened, with the options of config.json.
SIGTERM and Ctrl-C finish the step, save, and end with code 143 and 130; a run whose
steps are not finite any more ends with code 3.

    keras-iwm pretrain --data photos/ --devices 4
    keras-iwm pretrain --data photos/ --devices 8 --model-parallel 2
    torchrun --nproc-per-node 4 -m keras_iwm pretrain --data photos/

train on several devices: JAX (both), TensorFlow (the first), Torch (the last). The
batch is split among them. A run may be resumed on another number of devices.
"""

import argparse
import json
import os
import pathlib
import sys
import time

import keras

from keras_iwm import (
    backbones,
    callbacks,
    evaluation,
    models,
    optimizers,
    visualization,
)
from keras_iwm.commands.devices import use_devices
from keras_iwm.commands.pretraining_data import load_data
from keras_iwm.commands.program import (
    is_whole,
    make_parser,
    progress,
    save_picture,
    write_json,
)

PREFIXES = models.ImageWorldModel.preset_prefixes
SIZES = [name for name in backbones.PRESETS if name.startswith(PREFIXES)]


def parse_arguments(options):
    """Read the command line; with --resume, the options of the stopped run."""
    parser = make_parser("pretrain", __doc__)
    add = parser.add_argument
    add("--data", help="folder, .npz file, or cifar10")
    add("--eval-data", help="the same, held out; by default a tenth of --data")
    add("--limit", type=int, help="train on so many images, chosen at random")
    add("--eval-limit", type=int, default=2000, help="the same for --eval-data")
    prefixes = models.ImageWorldModel.preset_prefixes
    presets = [name for name in backbones.PRESETS if name.startswith(prefixes)]
    add("--preset", default="iwm_tiny_32", choices=presets)
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
    arguments = parser.parse_args(options)
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


def make_model(arguments, steps):
    """Make and compile a new model."""
    recipe = optimizers.pretraining_recipe(
        steps,
        arguments.batch_size,
        learning_rate=arguments.learning_rate,
        ema_momentum=arguments.ema_momentum,
    )
    model = models.ImageWorldModel.from_preset(
        arguments.preset,
        load_weights=False,
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


def draw_views(model, images, output):
    """Draw what the model gets to see, before it learns from it for hours."""
    # A copy, for the model's own draws are those of the run.
    generator = model.view_generator
    generator = type(generator).from_config(generator.get_config())
    views = generator(images[:6].astype("float32"))
    save_picture(
        output / "views.png",
        lambda: visualization.plot_views(
            views,
            model.encoder.grid_size,
            model.value_range,
            action_slots=model.action_space.slots,
        ),
    )


def main(options=None):
    """Pretrain, with checkpoints, and measure."""
    arguments = parse_arguments(options)
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
    side = arguments.image_size or backbones.PRESETS[arguments.preset]["image_size"]
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
    verbose, writers = progress(is_first=rank == 0)
    if rank == 0:
        writers.append(callbacks.HistoryFile(history))
        if arguments.tensorboard:
            writers.append(callbacks.TensorBoardScalars(output / "tensorboard"))
        writers.append(checkpoint)
        if epoch == 0:
            draw_views(model, held_out[0], output)
    last = min(arguments.epochs, epoch + (arguments.stop_after or arguments.epochs))
    start = time.perf_counter()
    stop = callbacks.StopOnNonFinite(dataset=dataset)
    try:
        model.fit(
            dataset,
            initial_epoch=epoch,
            epochs=last,
            callbacks=[quality, stop, callbacks.CollapseWarning(), *writers],
            verbose=verbose,
        )
    except callbacks.NonFiniteError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    seconds = time.perf_counter() - start
    if rank:
        return
    caption = f"{arguments.preset} on {arguments.data}, seed {arguments.seed}"
    curves = visualization.plot_training_curves
    save_picture(output / "curves.png", curves, history, caption=caption)
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
    save_picture(output / "curves.png", curves, history, summary, caption=caption)
    print(json.dumps(summary, indent=2))
