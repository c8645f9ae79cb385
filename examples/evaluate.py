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


def read_images(data, image_size, limit, seed):
    """Read at most `limit` images, at random."""
    rng = np.random.default_rng(seed)
    if pathlib.Path(data).is_dir():
        folder = datasets.ImageFolder(data, image_size, batch_size=1)
        return folder.load(rng.permutation(folder.num_samples)[:limit])[0]
    images, _ = datasets.load_images(data, image_size)
    return images[rng.permutation(len(images))[:limit]]


def draw_retrieval(evaluator, path):
    """Show for some images a wanted target beside what is retrieved."""
    jitter = evaluator.bank.jitter
    rows = {"clean": [], "target": [], "retrieved": [], "requested": [], "ranks": []}
    for index in range(min(6, len(evaluator.images))):
        found = evaluator.retrieve(index)
        # One of the entries that change most, another one for each image.
        change = np.abs(found["parameters"] - jitter.identity) / jitter.scales
        wanted = int(np.argsort(change.sum(axis=1))[-1 - index])
        image, parameters = evaluator.images[index], found["parameters"]
        target, retrieved = keras.ops.convert_to_numpy(
            evaluator.model.view_generator.apply_shared(
                np.stack([image] * 2), parameters[[wanted, found["nearest"][wanted]]]
            )
        )
        rows["clean"].append(image)
        rows["target"].append(target)
        rows["retrieved"].append(retrieved)
        rows["requested"].append(parameters[wanted])
        rows["ranks"].append(found["ranks"][wanted])
    visualization.plot_retrieval(
        **{name: np.stack(values) for name, values in rows.items()},
        bank_size=evaluator.bank.size,
        value_range=evaluator.model.value_range,
    ).savefig(path)


def main():
    """Measure, print, write and draw."""
    arguments = parse_arguments()
    model = load_model(arguments.model)
    control = load_model(arguments.control) if arguments.control else None
    read = {"image_size": model.image_size, "seed": arguments.seed}
    images = read_images(arguments.data, limit=arguments.retrieval_images, **read)
    train_images = None
    if arguments.train_data:
        train_images = read_images(
            arguments.train_data, limit=arguments.train_images, **read
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
    picture = path.with_name(f"{path.stem}_retrieval.png")
    draw_retrieval(evaluator, picture)
    print(f"The report is in {path}, what was retrieved in {picture}")


if __name__ == "__main__":
    main()
