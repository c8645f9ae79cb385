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
    evaluator = evaluation.EquivarianceEvaluator(
        model, images, batch_size=arguments.batch_size, swapped_image=False
    )
    pictures = {
        "retrieval": visualization.plot_retrieval(evaluator),
        "sweep": visualization.plot_action_sweep(evaluator),
    }
    if evaluator.operation_names:
        pictures["undo"] = visualization.plot_undo(evaluator)
    for name, figure in pictures.items():
        figure.savefig(path.with_name(f"{path.stem}_{name}.png"))
    print(f"The report is in {path}, with pictures beside it: {', '.join(pictures)}")


if __name__ == "__main__":
    main()
