"""Solve several tasks with one predictor on a pretrained world model.

    python examples/multitask.py runs/pretrain/model.keras \\
        --task animals=animals/train --eval animals=animals/test \\
        --task places=places/train --eval places=places/test
    python examples/multitask.py (the same) --single animals --output runs/animals

A task is a folder with one folder of images for each class, or an `.npz` file with
labels. The tasks share encoder and predictor; each has a token, which tells the
predictor what is wanted, and a head. Every batch is split evenly over them.

`--single` is the control: a model of one task alone, which sees the same images of it
in the same order, in as many updates at the same learning rate. What it does better or
worse is due to the other tasks.

The output folder gets `history.csv`, a checkpoint after every epoch, and at the end
`model.keras` and `summary.json` with the accuracy of each task on its `--eval` images.
The same command goes on with a run that was stopped.
"""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import callbacks, datasets, downstream
from keras_iwm.whole_file import whole_file


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="an ImageWorldModel, .keras")
    named = {"action": "append", "type": parse_task, "required": True}
    add("--task", metavar="NAME=DATA", help="folder or .npz file", **named)
    add("--eval", metavar="NAME=DATA", help="the same, held out", **named)
    add("--single", metavar="NAME", help="train on this task alone")
    add("--limit", type=int, help="train on so many images of a task")
    add("--eval-limit", type=int, help="evaluate on so many")
    add("--protocol", choices=("predictor", "end_to_end"), default="predictor")
    add("--epochs", type=int, default=20, help="passes over the largest task")
    add("--batch-size", type=int, default=64, help="images of all tasks together")
    add("--learning-rate", type=float, help="peak; by default scaled by batch size")
    add("--predictor-multiplier", type=float, default=0.1, help="of the learning rate")
    add("--seed", type=int, default=0)
    add("--output", default="runs/multitask")
    arguments = parser.parse_args()
    arguments.task, arguments.eval = dict(arguments.task), dict(arguments.eval)
    if arguments.task.keys() != arguments.eval.keys():
        parser.error("--task and --eval must name the same tasks")
    if arguments.single and arguments.single not in arguments.task:
        parser.error(f"--single must be one of {', '.join(arguments.task)}")
    return arguments


def parse_task(text):
    """Split NAME=DATA."""
    name, equals, data = text.partition("=")
    if not (name and equals and data):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DATA")
    return name, data


def read_tasks(paths, image_size, limit, seed):
    """Return the images and labels of each task, chosen at random if limited."""
    data = {}
    for name, path in paths.items():
        data[name] = datasets.load_images(path, image_size, limit, seed)
        if data[name][1] is None:
            raise SystemExit(f"{path} needs labels: a folder for each class")
    return data


def make_model(arguments, world_model, data, steps):
    """Make and compile a model with a head for each task in `data`."""
    backbone = downstream.WorldModelBackbone.from_world_model(
        world_model, arguments.protocol
    )
    model = downstream.MultiTaskModel(
        backbone,
        {
            name: downstream.AttentiveHead(
                int(labels.max()) + 1, world_model.encoder.num_heads
            )
            for name, (_, labels) in data.items()
        },
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        downstream.finetuning_recipe(
            model,
            steps,
            arguments.batch_size,
            learning_rate=arguments.learning_rate,
            predictor_multiplier=arguments.predictor_multiplier,
        ),
        loss=dict.fromkeys(data, loss),
        metrics={name: ["accuracy"] for name in data},
    )
    return model


def main():
    """Train on all tasks, or on one, and measure."""
    arguments = parse_arguments()
    output = pathlib.Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    checkpoints = output / "checkpoints"
    found = callbacks.RunCheckpoint.latest(checkpoints)
    config = output / "config.json"
    if found and config.is_file() and json.loads(config.read_text()) != vars(arguments):
        sys.exit(f"{output} holds a run of other options: choose another --output")
    with whole_file(config) as unfinished:
        unfinished.write_text(json.dumps(vars(arguments), indent=2))
    keras.utils.set_random_seed(arguments.seed)
    world_model = keras.models.load_model(arguments.model)
    if not isinstance(world_model, keras_iwm.models.ImageWorldModel):
        raise SystemExit(f"{arguments.model} must be an ImageWorldModel, saved whole")
    size, seed = world_model.image_size, arguments.seed
    data = read_tasks(arguments.task, size, arguments.limit, seed)
    held_out = read_tasks(arguments.eval, size, arguments.eval_limit, seed)

    batches = datasets.MultiTaskBatches(data, arguments.batch_size, seed)
    if arguments.single:
        data = {arguments.single: data[arguments.single]}
        batches = datasets.MultiTaskBatches(
            data,
            arguments.batch_size // len(arguments.task),
            seed,
            batches_per_epoch=len(batches),
        )
    steps = arguments.epochs * len(batches)
    history = output / "history.csv"
    checkpoint = callbacks.RunCheckpoint(checkpoints, every_seconds=600)
    model, first = checkpoint.resume(
        batches, lambda: make_model(arguments, world_model, data, steps), history
    )
    start = time.perf_counter()
    model.fit(
        batches,
        initial_epoch=first,
        epochs=arguments.epochs,
        callbacks=[
            callbacks.HistoryFile(history),
            checkpoint,
        ],
        verbose=2,
    )
    seconds = time.perf_counter() - start

    accuracy = {}
    for name in data:
        images, labels = held_out[name]
        logits = model.predict({name: images}, arguments.batch_size, verbose=0)[name]
        accuracy[name] = float(np.mean(logits.argmax(axis=1) == labels))
    model.save(output / "model.keras")
    summary = {
        "options": vars(arguments),
        "backend": keras.backend.backend(),
        "steps": steps,
        "seconds": seconds,
        "images_per_second": (arguments.epochs - first)
        * len(batches)
        * batches.batch_size
        / seconds,
        "num_images": {name: len(labels) for name, (_, labels) in data.items()},
        "accuracy": accuracy,
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for name, value in accuracy.items():
        print(f"{name:16s} accuracy {100 * value:5.1f} %")


if __name__ == "__main__":
    main()
