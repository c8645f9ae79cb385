"""Measure what a trained image world model knows of actions, on your own images.

    python examples/evaluate.py runs/pretrain/model.keras --data photos/test
    python examples/evaluate.py runs/pretrain/model.keras --data photos/test \\
        --train-data photos/train --control runs/frozen/model.keras

`--data` and `--train-data` are folders of images (flat, or one folder per class) or
`.npz` files. With `--train-data`, probes read the action from pairs of latents.
`--control` is a model trained with `pretrain.py --encoder frozen-random`: MRR says
something of the features only beside its. The backend is chosen by KERAS_BACKEND.

It prints a table, writes it as JSON to `--report`, and pictures beside that file.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import keras_iwm
from keras_iwm import datasets, evaluation, visualization


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help=".keras file of an ImageWorldModel")
    add("--data", required=True, help="folder or .npz file, best held out")
    add("--train-data", help="the same, for the probes of the action")
    add("--control", help=".keras file of a predictor on a frozen random encoder")
    add("--retrieval-images", type=int, default=60, help="images of --data, at random")
    add("--train-images", type=int, default=4096, help="the same of --train-data")
    add("--batch-size", type=int, default=64, help="lower it if memory runs out")
    add("--seed", type=int, default=0, help="of the choice of images")
    add("--report", default="report.json")
    return parser.parse_args()


def load_model(path):
    """Load a world model, or say why not."""
    if not pathlib.Path(path).is_file():
        sys.exit(f"{path}: there is no such file")
    model = keras.models.load_model(path)
    if not isinstance(model, keras_iwm.models.ImageWorldModel):
        sys.exit(f"{path} holds no ImageWorldModel but a {type(model).__name__}")
    return model


def views_of(evaluator, index, parameters):
    """Return one image under several jitters."""
    copies = np.stack([evaluator.images[index]] * len(parameters))
    views = evaluator.model.view_generator.apply_shared(copies, parameters)
    return keras.ops.convert_to_numpy(views)


def most_changed(evaluator, index, parameters):
    """Return one of the entries that change most, another one for each image."""
    jitter = evaluator.bank.jitter
    change = np.abs(parameters - jitter.identity) / jitter.scales
    return int(np.argsort(change.sum(axis=1))[-1 - index])


def draw_retrieval(evaluator, num_images):
    """Show for some images a wanted target beside what is retrieved."""
    rows = {"clean": [], "target": [], "retrieved": [], "requested": [], "ranks": []}
    for index in range(num_images):
        found = evaluator.retrieve(index)
        wanted = most_changed(evaluator, index, found["parameters"])
        entries = found["parameters"][[wanted, found["nearest"][wanted]]]
        target, retrieved = views_of(evaluator, index, entries)
        rows["clean"].append(evaluator.images[index])
        rows["target"].append(target)
        rows["retrieved"].append(retrieved)
        rows["requested"].append(entries[0])
        rows["ranks"].append(found["ranks"][wanted])
    return visualization.plot_retrieval(
        **{name: np.stack(values) for name, values in rows.items()},
        bank_size=evaluator.bank.size,
        value_range=evaluator.model.value_range,
    )


def draw_sweep(evaluator, index=0, num_values=9):
    """Show one image as each slot of the jitter goes through its range."""
    jitter = evaluator.bank.jitter
    slots = [
        slot
        for slot, scale in zip(jitter.parameters, jitter.scales, strict=True)
        if scale
    ]
    parts = {"retrieved": {}, "targets": {}, "values": {}, "errors": {}}
    for slot in slots:
        found = evaluator.sweep(index, slot)
        values, parameters = found["values"], found["parameters"]
        shown = np.linspace(0, len(values) - 1, num_values).astype(int)
        nearest = found["nearest"][shown]
        parts["targets"][slot] = views_of(evaluator, index, parameters[shown])
        parts["retrieved"][slot] = views_of(evaluator, index, parameters[nearest])
        parts["values"][slot] = values[shown]
        parts["errors"][slot] = values[nearest] - values[shown]
    return visualization.plot_action_sweep(
        evaluator.images[index],
        slot_names=slots,
        value_range=evaluator.model.value_range,
        **parts,
    )


def draw_undo(evaluator, num_images):
    """Show what is retrieved for images that were degraded."""
    names = evaluator.operation_names
    parts = {part: {name: [] for name in names} for part in ("degraded", "retrieved")}
    targets, ranks = [], {name: [] for name in names}
    for index in range(num_images):
        undone = evaluator.undo(index)
        parameters = undone[names[0]]["parameters"]
        wanted = most_changed(evaluator, index, parameters)
        targets.append(views_of(evaluator, index, parameters[[wanted]])[0])
        for name in names:
            found = undone[name]
            entry = parameters[[found["nearest"][wanted]]]
            parts["degraded"][name].append(found["degraded"])
            parts["retrieved"][name].append(views_of(evaluator, index, entry)[0])
            ranks[name].append(found["ranks"][wanted])
    return visualization.plot_undo(
        np.stack(targets),
        operation_names=names,
        ranks={name: np.array(values) for name, values in ranks.items()},
        bank_size=evaluator.bank.size,
        value_range=evaluator.model.value_range,
        **{
            part: {name: np.stack(values) for name, values in by_name.items()}
            for part, by_name in parts.items()
        },
    )


def main():
    """Measure, print, write and draw."""
    arguments = parse_arguments()
    model = load_model(arguments.model)
    control = load_model(arguments.control) if arguments.control else None
    images, _ = datasets.load_images(
        arguments.data, model.image_size, arguments.retrieval_images, arguments.seed
    )
    train_images = None
    if arguments.train_data:
        train_images, _ = datasets.load_images(
            arguments.train_data,
            model.image_size,
            arguments.train_images,
            arguments.seed,
        )
    report = evaluation.equivariance_report(
        model, images, train_images, control, batch_size=arguments.batch_size
    )
    print(evaluation.report_table(report))
    path = pathlib.Path(arguments.report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    evaluator = evaluation.WorldModelEvaluator(
        model, images, batch_size=arguments.batch_size, swapped_image=False
    )
    num_images = min(6, len(images))
    pictures = {
        "retrieval": draw_retrieval(evaluator, num_images),
        "sweep": draw_sweep(evaluator),
    }
    if evaluator.operation_names:
        pictures["undo"] = draw_undo(evaluator, num_images)
    for name, figure in pictures.items():
        figure.savefig(path.with_name(f"{path.stem}_{name}.png"))
    print(f"The report is in {path}, with pictures beside it: {', '.join(pictures)}")


if __name__ == "__main__":
    main()
