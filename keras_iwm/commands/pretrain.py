"""Pretrain a world model, or by another method, on your own images or videos.

    keras-iwm pretrain --data photos/ --preset iwm_tiny_96 --epochs 100
    keras-iwm pretrain --data s3://bucket/shards --preset iwm_small_224
    keras-iwm pretrain --data cifar10 --preset ijepa_tiny_32
    keras-iwm pretrain --data clips/ --preset vjepa_tiny_64 --frame-stride 4
    keras-iwm pretrain --resume runs/pretrain

The name of the preset says by which method: iwm_... are image world models. `--data`
is a folder of images (flat, or one folder per class), shards (a folder of tar files, or
its URL, as `keras-iwm pack` makes them), an `.npz` file, or `cifar10`; for presets of
video, vjepa_..., a folder of videos or of folders of frames. The backend is
chosen by KERAS_BACKEND; JAX and Torch need no TensorFlow. Labels, if there are any, are
used for kNN and ridge regression alone.

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

    srun keras-iwm pretrain --data photos/
    torchrun --nnodes 2 --nproc-per-node 8 ... -m keras_iwm pretrain --data photos/
    keras-iwm pretrain --data photos/ --coordinator node1:1234 \\
        --num-processes 2 --process-index 0

train on several hosts, on JAX or Torch, in one process for each GPU (of JAX also for
each host) that sees --data and --output. Process 0 writes, all of them read a share of
each batch, and a signal to any stops all. See docs/hosts.md.
"""

import inspect
import json
import pathlib
import sys

import keras
import numpy as np

from keras_iwm import (
    backbones,
    callbacks,
    distribution,
    evaluation,
    models,
    optimizers,
    visualization,
)
from keras_iwm.backend import alone, ask_all
from keras_iwm.commands.devices import leave, use_devices
from keras_iwm.commands.pretraining_data import load_data
from keras_iwm.commands.pretraining_options import model_settings, parse_arguments
from keras_iwm.commands.program import is_whole, progress, save_picture, write_json
from keras_iwm.commands.training_time import TrainingTime
from keras_iwm.evaluation.bank_ranking import predicts_actions
from keras_iwm.views.two_view_generator import TWO_VIEW_KEYS
from keras_iwm.views.view_generator import VIEW_KEYS


def make_model(arguments, steps):
    """Make and compile a new model."""
    method, preset = models.method_of(arguments.preset), arguments.preset
    settings = {
        "drop_path_rate": arguments.drop_path_rate,
        "remat": arguments.remat,
        "seed": arguments.seed,
        **model_settings(arguments),
    }
    recipe = {"learning_rate": arguments.learning_rate}
    teacher = inspect.signature(method).parameters.get("ema_momentum")
    if teacher is not None:
        usual = backbones.PRESETS[preset].get("ema_momentum", teacher.default)
        recipe["ema_momentum"] = settings.get("ema_momentum", usual)
    recipe = optimizers.pretraining_recipe(steps, arguments.batch_size, **recipe)
    if teacher is not None:
        settings["ema_momentum"] = recipe.ema_momentum
    try:
        model = method.from_preset(preset, load_weights=False, **settings)
    except ValueError as error:
        sys.exit(f"{preset}: {error}")
    if arguments.encoder == "frozen-random":
        model.encoder.trainable = False
    jit_compile = True if arguments.jit_compile else "auto"
    model.compile(recipe.optimizer, jit_compile=jit_compile)
    return model


def measure(model, arguments, train, held_out):
    """Measure the finished model on the held-out images."""
    results = {}
    if predicts_actions(model):
        images = held_out[0][: 5 * arguments.retrieval_images]
        results = evaluation.evaluate_world_model(model, images)
        results["mrr_doubled"] = evaluation.evaluate_world_model(
            model, images, evaluation.RetrievalBank.doubled()
        )["mrr"]
    if held_out[1] is not None:
        train = [part[:10_000] for part in train]
        results.update(
            evaluation.compare_features(model, *train, *held_out, neighbors(train[1]))
        )
    return results


def neighbors(labels):
    """Return how many neighbours vote: no more than others of an image's class."""
    if labels is None:
        return 1
    _, counts = np.unique(labels, return_counts=True)
    return int(np.clip(counts.min() - 1, 1, 10))


def print_words(summary, output):
    """Say in words what a newcomer looks for in the summary."""
    lines = []
    if "mrr" in summary:
        lines.append(
            "MRR {mrr:.3f}, how high the true target ranks among 256 by the action; "
            "chance {mrr_chance:.3f}, with shuffled actions {mrr_shuffled_action:.3f}."
        )
    if "knn_accuracy" in summary:
        lines.append(
            "kNN accuracy {knn_accuracy:.3f}; untrained encoder {knn_untrained:.3f}, "
            "pixels {knn_pixels:.3f}."
        )
    for line in lines:
        print(line.format(**summary))
    print(f"The model is {output / 'model.keras'}, these numbers in summary.json.")


def draw_views(model, images, output):
    """Draw what the model gets to see, before it learns from it for hours."""
    # A copy, for the model's own draws are those of the run.
    generator = model.view_generator
    generator = type(generator).from_config(generator.get_config())
    views = generator(images[:6].astype("float32"))
    picture = output / "views.png"
    if set(VIEW_KEYS) <= set(views):
        plot = visualization.plot_views
        facts = model.encoder.grid_size, model.value_range, 6, model.action_space.slots
        save_picture(picture, plot, views, *facts)
    elif set(TWO_VIEW_KEYS) <= set(views):
        plot = visualization.plot_view_pairs
        save_picture(picture, plot, views, model.value_range)


def main(options=None):
    """Pretrain, with checkpoints, and measure."""
    arguments = parse_arguments(options, __doc__)
    output = pathlib.Path(arguments.output)
    config = output / "config.json"
    checkpoints = output / "checkpoints"
    found = callbacks.RunCheckpoint.latest(checkpoints)
    if found and not arguments.resume and is_whole(config):
        sys.exit(
            f"{output} holds a run already: --resume {output}, or another --output"
        )
    if found and (output / "summary.json").is_file():
        sys.exit(
            f"{output} holds a finished run of {found[1]} epochs: see summary.json"
        )
    size = backbones.PRESETS[arguments.preset]["image_size"]
    side = model_settings(arguments).get("image_size", size)
    devices = use_devices(arguments)
    rank, num_processes = devices.process
    if rank == 0 and not arguments.resume:
        write_json(config, vars(arguments))
    keras.config.set_dtype_policy(arguments.precision)
    keras.utils.set_random_seed(arguments.seed)

    if rank:  # for what the first one leaves beside the run
        ask_all(0)()
    dataset, train, held_out = load_data(arguments, (side, side), rank)
    if rank == 0:
        ask_all(0)()
    if arguments.steps:  # in epochs of one length
        arguments.epochs = -(-arguments.steps // len(dataset))
        dataset.batches_per_epoch = round(arguments.steps / arguments.epochs)
    dataset.share = devices.share
    if rank == 0:
        beside = "" if arguments.eval_data else f" of {arguments.data}"
        print(
            f"{len(dataset)} steps an epoch; measurements are of {len(held_out[0])} "
            f"held out{beside}",
            flush=True,
        )
    history = output / "history.csv"
    quality = callbacks.WorldModelQuality(
        *held_out,
        every=arguments.evaluate_every,
        retrieval_images=held_out[0][: arguments.retrieval_images],
        num_neighbors=neighbors(held_out[1]),
    )
    checkpoint = callbacks.RunCheckpoint(
        checkpoints,
        every_seconds=arguments.save_every,
        callbacks=[quality],
        sharded=arguments.sharded_checkpoints,
    )
    with devices.scope:
        model, epoch = checkpoint.resume(
            dataset,
            lambda: make_model(arguments, arguments.epochs * len(dataset)),
            history if rank == 0 else None,
        )
    distribution.set_exchange_dtype(model, arguments.exchange_dtype)
    if found and rank == 0:
        print(f"Resuming after epoch {epoch}, step {dataset.position}")
    verbose, writers = progress(is_first=rank == 0)
    if rank == 0:
        writers.append(callbacks.HistoryFile(history))
        if arguments.tensorboard:
            writers.append(callbacks.TensorBoardScalars(output / "tensorboard"))
    writers.append(checkpoint)
    if epoch == 0:
        with alone(model):
            if rank == 0:
                draw_views(model, held_out[0], output)
    last = min(arguments.epochs, epoch + (arguments.stop_after or arguments.epochs))
    timer = TrainingTime()
    stop = callbacks.StopOnNonFinite(dataset=dataset)
    try:
        model.fit(
            dataset,
            initial_epoch=epoch,
            epochs=last,
            callbacks=[timer, quality, stop, callbacks.CollapseWarning(), *writers],
            verbose=verbose,
        )
    except callbacks.NonFiniteError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    with alone(model):
        if rank == 0 and last == arguments.epochs:
            model.save(output / "model.keras")
    leave()  # before what takes the first one long
    if rank:
        return
    caption = f"{arguments.preset} on {arguments.data}, seed {arguments.seed}"
    curves = visualization.plot_training_curves
    save_picture(output / "curves.png", curves, history, caption=caption)
    if last < arguments.epochs:
        print(f"Stopped after epoch {last}; --resume {output} runs the others")
        return
    if num_processes > 1:  # what the processes held together, one has alone
        keras.distribution.set_distribution(None)
        model = keras.models.load_model(output / "model.keras")
    steps = (last - epoch) * len(dataset)
    kind = "clips" if model.takes_clips else "images"
    summary = {
        "backend": keras.backend.backend(),
        "devices": devices.replicas * arguments.model_parallel,
        "seconds": timer.seconds,
        "steps": steps,
        # A run that had only to be measured has no steps.
        f"{kind}_per_second": steps and steps * arguments.batch_size / timer.seconds,
    }
    if not arguments.no_measurements:
        summary |= measure(model, arguments, train, held_out)
    write_json(output / "summary.json", summary)
    save_picture(output / "curves.png", curves, history, summary, caption=caption)
    print(json.dumps(summary, indent=2))
    print_words(summary, output)
